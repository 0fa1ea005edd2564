"""Pure numbers: intervals, variance, time-to-accuracy, survival, scaling, costs."""
