//! Time limits on slow machines. The limits in the cases are made for real hardware; an emulated one gets a multiple.

use std::env;
use std::sync::OnceLock;
use std::time::Duration;

/// `limit` times `WHERRY_PATIENCE` (1 when unset or not a number).
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| env::var("WHERRY_PATIENCE").ok().and_then(|n| n.parse().ok()).unwrap_or(1));
    limit * (*factor).max(1)
}
