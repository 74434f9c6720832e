//! How long the guest's writes take, by QEMU's own count.
//!
//! Looks only: histograms would tell more, but setting them up would take them from whoever else
//! uses them. The connection is closed after each look, because QEMU serves one client per socket
//! and others want their turn.

use std::time::Duration;

use serde_json::Value;
use tresor_disk::GuestWrites;
use tresor_qmp::commands::block::QueryBlockStats;

use crate::connect::Connector;

/// How long a look may take, connecting included: when somebody else has the socket, there is no
/// answer this time.
const LIMIT: Duration = Duration::from_secs(1);

/// The counters of all drives together; `None` when QEMU does not answer in time.
pub(crate) async fn guest_writes(connector: &Connector) -> Option<GuestWrites> {
    let look = async {
        let client = connector.lease().await.ok()?;
        let query = QueryBlockStats { query_nodes: false };
        client.run(&query).await.ok()
    };
    let drives = tokio::time::timeout(LIMIT, look).await.ok()??;
    Some(total(&drives))
}

fn total(drives: &[Value]) -> GuestWrites {
    let mut sum = GuestWrites::default();
    for drive in drives {
        let number = |name: &str| drive["stats"][name].as_u64().unwrap_or(0);
        sum.count = sum.count.saturating_add(number("wr_operations"));
        let time = Duration::from_nanos(number("wr_total_time_ns"));
        sum.time = sum.time.saturating_add(time);
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drives_are_added_up_and_what_is_missing_is_nothing() {
        let drives = [
            json!({"qdev": "vda", "stats": {"wr_operations": 3, "wr_total_time_ns": 5000}}),
            json!({"qdev": "vdb", "stats": {"wr_operations": 1, "wr_total_time_ns": u64::MAX}}),
            json!({"qdev": "cd"}),
        ];
        let sum = total(&drives);
        assert_eq!(sum.count, 4);
        assert!(sum.time > Duration::from_nanos(u64::MAX));
        assert_eq!(total(&[]), GuestWrites::default());
    }
}
