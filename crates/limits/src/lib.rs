//! Rates, plans and concurrency, exact over all cores.
