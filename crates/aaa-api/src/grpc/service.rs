//! The generated service traits, answered by the handlers.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::gate::Call;
use super::stream::SignStream;
use super::v1;
use crate::error::ApiError;
use crate::handler::{Context, Front, LoginHandler, SignHandler};
use crate::rest;
use crate::server::ConditionReceiver;

/// `LoginService`.
#[derive(Clone)]
pub(crate) struct Login(pub(crate) Option<Arc<dyn LoginHandler>>);

#[tonic::async_trait]
impl v1::login_service_server::LoginService for Login {
    async fn login(
        &self,
        mut request: Request<v1::LoginRequest>,
    ) -> Result<Response<v1::LoginResponse>, Status> {
        let call = Call::take(&mut request);
        match self.answer(&call.context, request.into_inner()).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(reported(&error)),
        }
    }
}

impl Login {
    async fn answer(
        &self,
        context: &Context,
        message: v1::LoginRequest,
    ) -> Result<v1::LoginResponse, ApiError> {
        let handler = self.0.as_deref().ok_or_else(no_login)?;
        if let Err(error) = rest::LoginRequest::check(&message) {
            let body = Zeroizing::new(message.encode_to_vec());
            return Err(handler.malformed(context, &body, error).await);
        }
        Ok(handler.login(context, message.into()).await?.into())
    }
}

/// `SignerService`.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) handler: Option<Arc<dyn SignHandler>>,
    pub(crate) condition: ConditionReceiver,
    pub(crate) idle: Duration,
}

#[tonic::async_trait]
impl v1::signer_service_server::SignerService for Signer {
    async fn sign(
        &self,
        mut request: Request<v1::SignRequest>,
    ) -> Result<Response<v1::SignResponse>, Status> {
        let call = Call::take(&mut request);
        let message = request.into_inner();
        let answer = async {
            let handler = self.handler.as_deref().ok_or_else(no_signer)?;
            sign(handler, &call.context, message).await
        };
        match answer.await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(reported(&error)),
        }
    }

    type SignStreamStream = SignStream;

    async fn sign_stream(
        &self,
        mut request: Request<Streaming<v1::SignStreamRequest>>,
    ) -> Result<Response<SignStream>, Status> {
        let call = Call::take(&mut request);
        let handler = self.handler.clone().ok_or_else(|| reported(&no_signer()))?;
        let stream = SignStream::new(
            handler,
            call,
            request.into_inner(),
            self.condition.clone(),
            self.idle,
        );
        Ok(Response::new(stream))
    }
}

/// Decides about one request, whether it came alone or in a stream.
pub(super) async fn sign(
    handler: &dyn SignHandler,
    context: &Context,
    message: v1::SignRequest,
) -> Result<v1::SignResponse, ApiError> {
    if let Err(error) = rest::SignRequest::check(&message) {
        let body = message.encode_to_vec();
        return Err(handler.malformed(context, &body, error).await);
    }
    Ok(handler.sign(context, message.into()).await?.into())
}

fn reported(error: &ApiError) -> Status {
    error.report(Front::Grpc);
    error.to_status()
}

/// The error of an instance without authenticator.
pub(crate) fn no_login() -> ApiError {
    ApiError::not_configured("this instance has no authenticator: log in at one that has")
}

/// The error of an instance without signer.
pub(crate) fn no_signer() -> ApiError {
    ApiError::not_configured("this instance has no signer: ask one that has")
}
