//! The standard health service (`grpc.health.v1`), told by the condition of the process.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::server::{Condition, ConditionReceiver};

/// Who is there, and whether the process can serve.
pub(crate) struct Readiness {
    /// Each known service, and whether this instance has it. The empty name is the process as a whole.
    pub(crate) services: Vec<(&'static str, bool)>,
    pub(crate) condition: ConditionReceiver,
}

impl Readiness {
    fn configured(&self, service: &str) -> Option<bool> {
        self.services
            .iter()
            .find(|(name, _)| *name == service)
            .map(|(_, configured)| *configured)
    }
}

fn status(configured: bool, condition: Condition) -> HealthCheckResponse {
    let status = if configured && condition == Condition::Ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status as i32,
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let configured = self
            .configured(&request.get_ref().service)
            .ok_or_else(|| Status::not_found("no such service here"))?;
        let condition = *self.condition.borrow();
        Ok(Response::new(status(configured, condition)))
    }

    type WatchStream = Watched;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        let configured = self.configured(&request.get_ref().service);
        let conditions = WatchStream::new(self.condition.clone());
        // A watcher must not hold up the end of the process: that it drains is the last that is told.
        let answers = stream::unfold(
            (conditions, false),
            move |(mut conditions, last)| async move {
                if last {
                    return None;
                }
                let condition = conditions.next().await?;
                let response = match configured {
                    Some(configured) => status(configured, condition),
                    None => HealthCheckResponse {
                        status: ServingStatus::ServiceUnknown as i32,
                    },
                };
                Some((Ok(response), (conditions, condition == Condition::Draining)))
            },
        );
        Ok(Response::new(Box::pin(answers)))
    }
}
