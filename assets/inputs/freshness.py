"""How old what people rely on may get."""

from datetime import timedelta

import dagster as dg

CONFIRMED_WEEKLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8))
"""Of assets that the weekly refresh makes again even where nothing has changed: that takes seconds, as the same data
give the same version, of which nothing is made again. It fails where no refresh has succeeded for a week and a day."""
