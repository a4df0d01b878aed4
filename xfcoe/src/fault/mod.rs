//! Orders to a SAN in a box while it runs: what is to go wrong.
//!
//! `xfcoe san --control PATH` takes them at a unix socket, and `xfcoe fault PATH` gives them (`crate::orders`):
//!
//! ```text
//! "show"
//! {"order":{"faults":{"loss_ppm":1000}}}
//! {"order":{"inject":{"fault":{"frame":["lose","response"]},"count":3}}}
//! {"order":{"kill":{"target":"20:00:02:fc:f0:00:01:01","how":"silent"}}}
//!
//! {"done":{"received_frames":10,...}}
//! {"refused":"no target has the port name ..."}
//! ```

mod args;
mod command;
mod summary;

pub use args::{Fault, What};
pub(crate) use command::run;
pub(crate) use summary::Summary;

use crate::orders::TakesOrders;
use san::{Order, Remote};
use serde::{Deserialize, Serialize};

/// A request to a SAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// How it stands.
    Show,
    /// What it is to do.
    Order(Order),
}

impl TakesOrders for Remote {
    type Request = Request;
    type Answer = Summary;

    fn carry_out(&self, request: Request) -> Result<Summary, String> {
        let result = match request {
            Request::Show => self.stats(),
            Request::Order(order) => {
                tracing::info!(?order, "an order");
                self.order(order)
            }
        };
        result.map(|stats| Summary::from(&stats)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::MAX_REQUEST_LEN;
    use san::{Death, Fault, FaultsConfig, FrameFate, FrameKind};

    #[test]
    fn requests_are_written_as_the_documentation_says() {
        let order = |order| serde_json::to_string(&Request::Order(order)).unwrap();
        let fault = Fault::Frame(FrameFate::Lose, FrameKind::Response);
        let target = "20:00:02:fc:f0:00:01:01".parse().unwrap();
        assert_eq!(serde_json::to_string(&Request::Show).unwrap(), r#""show""#);
        assert_eq!(
            order(Order::Inject { fault, count: 3 }),
            r#"{"order":{"inject":{"fault":{"frame":["lose","response"]},"count":3}}}"#
        );
        assert_eq!(
            order(Order::Kill { target, how: Death::Silent }),
            r#"{"order":{"kill":{"target":"20:00:02:fc:f0:00:01:01","how":"silent"}}}"#
        );
        assert_eq!(order(Order::Restart), r#"{"order":"restart"}"#);
        let faults = serde_json::from_str(r#"{"order":{"faults":{"loss_ppm":1000}}}"#).unwrap();
        let expected = FaultsConfig { loss_ppm: 1000, ..FaultsConfig::default() };
        assert_eq!(Request::Order(Order::Faults(expected)), faults);
        assert!(order(Order::Faults(FaultsConfig::default())).len() < MAX_REQUEST_LEN);
    }
}
