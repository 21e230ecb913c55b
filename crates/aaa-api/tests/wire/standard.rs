//! The services that every gRPC tool asks for: health and reflection.

use std::sync::Arc;

use aaa_api::server::{self, Condition, Handlers, Options};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{Oracle, Served, handlers, router};

const LOGIN_SERVICE: &str = "choria.aaa.v1.LoginService";
const SIGNER_SERVICE: &str = "choria.aaa.v1.SignerService";

async fn connect(served: &Served) -> Channel {
    Channel::from_shared(served.origin())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_is_told_for_each_service_as_it_is() {
    let (condition, receiver) = watch::channel(Condition::NotReady);
    let signer_only = Handlers {
        login: None,
        ..handlers(&Oracle::new())
    };
    let options = Options {
        condition: receiver,
        ..Options::default()
    };
    let served = Served::new(server::router_with(signer_only, &options)).await;
    let mut health = HealthClient::new(connect(&served).await);
    let serving = [
        (Condition::NotReady, ServingStatus::NotServing),
        (Condition::Ready, ServingStatus::Serving),
        (Condition::Draining, ServingStatus::NotServing),
    ];
    for (now, expected) in serving {
        condition.send_replace(now);
        for (service, expected) in [
            ("", expected),
            (SIGNER_SERVICE, expected),
            (LOGIN_SERVICE, ServingStatus::NotServing),
        ] {
            let response = health.check(about(service)).await.unwrap().into_inner();
            assert_eq!(response.status(), expected, "{service:?} when {now:?}");
        }
    }
    let unknown = health.check(about("choria.Unknown")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_watcher_hears_every_change_until_the_end() {
    let (condition, receiver) = watch::channel(Condition::NotReady);
    let options = Options {
        condition: receiver,
        ..Options::default()
    };
    let served = Served::new(server::router_with(handlers(&Oracle::new()), &options)).await;
    let mut health = HealthClient::new(connect(&served).await);
    let mut known = health
        .watch(about(SIGNER_SERVICE))
        .await
        .unwrap()
        .into_inner();
    let mut unknown = health
        .watch(about("choria.Unknown"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        unknown.message().await.unwrap().unwrap().status(),
        ServingStatus::ServiceUnknown
    );
    assert_eq!(
        known.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    condition.send_replace(Condition::Ready);
    assert_eq!(
        known.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    condition.send_replace(Condition::Draining);
    assert_eq!(
        known.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert!(known.message().await.unwrap().is_none());
}

#[tokio::test]
async fn reflection_lists_the_contract() {
    let served = Served::new(router(&Arc::clone(&Oracle::new()))).await;
    let mut reflection = ServerReflectionClient::new(connect(&served).await);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let questions = tokio_stream::once(question);
    let mut answers = reflection
        .server_reflection_info(questions)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let mut names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            LOGIN_SERVICE,
            SIGNER_SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection"
        ]
    );
}
