//! cgroups: limits, freeze, kill, statistics.
