use super::*;

const AGENT: &str = "aaa_signer";

/// Whole exchanges off the wire: requests and the replies to them, in turn.
fn exchanges(file: &str) -> Vec<(Vec<u8>, Value)> {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let messages: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let with = |direction: &str| {
        let these = messages.iter().filter(|m| m["direction"] == direction);
        these.map(|m| m["data"].clone()).collect::<Vec<_>>()
    };
    let (requests, replies) = (with("request"), with("reply"));
    assert_eq!(requests.len(), replies.len());
    let requests = requests.iter().map(|r| r.to_string().into_bytes());
    requests.zip(replies).collect()
}

fn unwrap(reply: &Value) -> Value {
    let data = STANDARD.decode(reply["data"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&data).unwrap()
}

fn rpc_of_v1(secure: &Value) -> (Value, Value) {
    let reply: Value = serde_json::from_str(secure["message"].as_str().unwrap()).unwrap();
    let rpc = serde_json::from_str(reply["message"].as_str().unwrap()).unwrap();
    (reply, rpc)
}

fn rpc_of_v2(secure: &Value) -> (Value, Value) {
    let reply = STANDARD.decode(secure["reply"].as_str().unwrap()).unwrap();
    let reply: Value = serde_json::from_slice(&reply).unwrap();
    let rpc = STANDARD.decode(reply["message"].as_str().unwrap()).unwrap();
    (reply, serde_json::from_slice(&rpc).unwrap())
}

fn answer(rpc: &Value) -> Answer {
    Answer {
        code: u8::try_from(rpc["statuscode"].as_u64().unwrap()).unwrap(),
        message: rpc["statusmsg"].as_str().unwrap().to_owned(),
        data: rpc["data"].clone(),
    }
}

#[test]
fn v1_exchanges_are_read_and_answered_alike() {
    for (request, theirs) in exchanges("rpc_service_v1.json") {
        let call = Call::parse(&request, "mcollective", AGENT).unwrap();
        let (their_reply, rpc) = rpc_of_v1(&unwrap(&theirs));
        let replier = Replier {
            identity: "aaasvc.privileged.mcollective".to_owned(),
            server: "nats://localhost:4223".to_owned(),
            proof: None,
        };
        let now =
            Timestamp::from_second(their_reply["envelope"]["time"].as_i64().unwrap()).unwrap();
        let ours = call.reply(&replier, &answer(&rpc), now).unwrap();
        let ours: Value = serde_json::from_slice(&ours).unwrap();
        let secure = unwrap(&ours);
        assert_eq!(rpc_of_v1(&secure), (reparsed(&secure, "message"), rpc));
        let without_message = |mut reply: Value| {
            reply["message"].take();
            reply
        };
        assert_eq!(
            without_message(rpc_of_v1(&secure).0),
            without_message(their_reply)
        );
        assert_eq!(
            secure["hash"],
            checksum(secure["message"].as_str().unwrap().as_bytes())
        );
        let their_secure = unwrap(&theirs);
        assert_eq!(
            their_secure["hash"],
            checksum(their_secure["message"].as_str().unwrap().as_bytes())
        );
        assert_eq!(ours["headers"]["mc_sender"], theirs["headers"]["mc_sender"]);
        assert_eq!(ours["protocol"], theirs["protocol"]);
    }
}

fn reparsed(secure: &Value, member: &str) -> Value {
    serde_json::from_str(secure[member].as_str().unwrap()).unwrap()
}

#[test]
fn v2_exchanges_are_read_and_answered_alike_and_signed() {
    for (request, theirs) in exchanges("rpc_service_v2.json") {
        let call = Call::parse(&request, "choria", AGENT).unwrap();
        let (their_reply, rpc) = rpc_of_v2(&unwrap(&theirs));
        let key = Ed25519Key::generate().unwrap();
        let public = key.public();
        let replier = Replier {
            identity: "aaa.example.net".to_owned(),
            server: "nats://localhost:4222".to_owned(),
            proof: Some(Arc::new(Bearer {
                token: Secret::new("jwt".to_owned()),
                key,
            })),
        };
        let now = Timestamp::from_nanosecond(their_reply["time"].as_i64().unwrap().into()).unwrap();
        let ours = call.reply(&replier, &answer(&rpc), now).unwrap();
        let ours: Value = serde_json::from_slice(&ours).unwrap();
        let secure = unwrap(&ours);
        let (reply, our_rpc) = rpc_of_v2(&secure);
        assert_eq!(our_rpc, rpc);
        for member in ["protocol", "request", "sender", "agent", "time"] {
            assert_eq!(reply[member], their_reply[member], "{member}");
        }
        let bytes = STANDARD.decode(secure["reply"].as_str().unwrap()).unwrap();
        let signature = STANDARD
            .decode(secure["signature"].as_str().unwrap())
            .unwrap();
        assert!(public.verify(&bytes, &signature));
        assert_eq!(secure["hash"], checksum(&bytes));
        assert_eq!(secure["sender"], "jwt");
        assert_eq!(secure["protocol"], unwrap(&theirs)["protocol"]);
        assert_eq!(ours["headers"]["sender"], theirs["headers"]["sender"]);
    }
}

#[test]
fn replies_go_to_reply_subjects_of_the_collective_only() {
    for good in ["choria.reply.868a.3MSd", "choria.reply.868a.3MSd.x"] {
        assert!(takes_replies(good, "choria"), "{good}");
    }
    let long = format!("choria.reply.a.{}", "x".repeat(SUBJECT_LIMIT));
    for bad in [
        "",
        "choria.reply",
        "choria.reply.a",
        "choria.reply.a.",
        "choria.reply.*.a",
        "choria.reply.a.>",
        "choria.reply.a.b c",
        "choria.reply.a.b\r\nPUB x 1",
        "choria.reply.a.é",
        "other.reply.a.b",
        "choria.node.a.b",
        "choria.broadcast.agent.rpcutil",
        "$JS.API.STREAM.DELETE.AUDIT",
        long.as_str(),
    ] {
        assert!(!takes_replies(bad, "choria"), "{bad:?}");
    }
}

#[test]
fn what_is_no_call_is_refused() {
    let (good, _) = exchanges("rpc_service_v2.json").remove(0);
    let message: Value = serde_json::from_slice(&good).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut message = message.clone();
        *message.pointer_mut(pointer).unwrap() = value;
        message.to_string().into_bytes()
    };
    let parse = |bytes: &[u8]| Call::parse(bytes, "choria", AGENT).map(|_| ()).unwrap_err();
    for bad in [
        Vec::new(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"\xff".to_vec(),
        good[..good.len() / 2].to_vec(),
        changed("/protocol", json!("choria:transport:1")),
        changed("/protocol", json!("io.choria.protocol.v3.transport")),
        changed("/data", json!("?")),
        changed("/data", json!(STANDARD.encode("{}"))),
        changed("/data", json!(7)),
        changed("/headers", json!(null)),
        changed("/headers/reply", json!("choria.node.x.y")),
    ] {
        parse(&bad);
    }
    assert_eq!(parse(&vec![b' '; MESSAGE_LIMIT + 1]), CallError::TooLong);
    assert_eq!(
        Call::parse(&good, "other", AGENT).map(|_| ()),
        Err(CallError::ReplySubject)
    );
    assert_eq!(
        Call::parse(&good, "choria", "other").map(|_| ()),
        Err(CallError::Misdirected)
    );
}
