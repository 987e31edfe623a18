"""How old what people rely on may get."""

from datetime import timedelta

import dagster as dg

CONFIRMED_WEEKLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8))
"""For assets that the weekly refresh makes again even where nothing has changed. That takes seconds, as the same data
give the same version, which is kept. The policy fails where no refresh has succeeded for a week and a day."""
