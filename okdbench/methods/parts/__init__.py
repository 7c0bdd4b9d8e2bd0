"""What several methods share: losses, schedules, moving averages, fusion modules, contrastive banks."""
