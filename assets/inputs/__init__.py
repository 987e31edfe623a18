"""What the chain reads that is no asset (home, registry, external assets), and what all assets share."""
