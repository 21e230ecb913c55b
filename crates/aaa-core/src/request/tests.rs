use super::*;

fn v2(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    v2_with_body(
        r#"{"agent":"puppet","action":"status","data":{"a":1}}"#,
        change,
    )
}

fn v2_with_body(body: &str, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut request = serde_json::json!({
        "protocol": PROTOCOL_V2, "message": STANDARD.encode(body), "id": "3MSajOxQIhGhTmAjYqevdPrGO00",
        "sender": "dev1", "caller": "up=eve", "collective": "choria", "agent": "puppet", "ttl": 60,
        "time": 1_795_347_644_548_776_511_i64, "filter": {"fact": [{"fact":"country","operator":"==","value":"mt"}]}
    });
    change(&mut request);
    request.to_string().into_bytes()
}

fn error(bytes: impl AsRef<[u8]>) -> RequestError {
    Request::parse(bytes.as_ref()).unwrap_err()
}

#[test]
fn a_v2_request_is_read_whole() {
    let request = Request::parse(&v2(|_| ())).unwrap();
    assert_eq!(request.version(), Version::V2);
    assert_eq!(request.agent_action(), "puppet.status");
    assert_eq!(request.claimed_caller(), "up=eve");
    assert_eq!(request.sender(), "dev1");
    assert_eq!(request.collective(), "choria");
    assert_eq!(request.ttl(), 60);
    assert_eq!(request.time().as_second(), 1_795_347_644);
    assert_eq!(request.filter().fact[0].fact, "country");
    assert_eq!(
        request.body(),
        &Body::Rpc {
            action: "status".into(),
            data: serde_json::json!({"a": 1})
        }
    );
}

#[test]
fn only_the_caller_changes() {
    let text = r#" {"protocol":"io.choria.protocol.v2.request", "new":[1.50, "\u003c"],"caller" : "up=x\u0041" ,"message":"e30=",
        "id":"1","sender":"s","collective":"c","agent":"discovery","ttl":60,"time":1795347644548776511} "#;
    let request = Request::parse(text.as_bytes()).unwrap();
    let signed = request.with_caller(&CallerId::new("okta=bob@example.net"));
    let expected = text.replace(r#""up=x\u0041""#, r#""okta=bob_example_net""#);
    assert_eq!(String::from_utf8(signed).unwrap(), expected);
}

#[test]
fn a_caller_cannot_break_out_of_its_string() {
    let request = Request::parse(&v2(|_| ())).unwrap();
    let caller = CallerId::new("up=b\",\"agent\":\"x");
    let signed: serde_json::Value = serde_json::from_slice(&request.with_caller(&caller)).unwrap();
    assert_eq!(signed["caller"], "up=b\",\"agent\":\"x");
    assert_eq!(signed["agent"], "puppet");
}

#[test]
fn discovery_has_a_plain_body() {
    let request =
        Request::parse(&v2_with_body("ping", |r| r["agent"] = "discovery".into())).unwrap();
    assert_eq!(request.body(), &Body::Plain);
    assert_eq!(request.agent_action(), "discovery");
}

#[test]
fn the_body_is_for_the_agent_addressed() {
    assert_eq!(
        error(v2(|r| r["agent"] = "rpcutil".into())),
        RequestError::AgentMismatch
    );
}

#[test]
fn a_body_that_a_node_reads_otherwise_is_refused() {
    for body in [
        r#"{"agent":"puppet","action":"status","Action":"disable"}"#,
        r#"{"agent":"puppet","action":"status","action":"disable"}"#,
        r#"{"agent":"puppet","action":"status","AGENT":"shell"}"#,
        r#"{"agent":"puppet","action":"status","data":{"task":"a","task":"b"}}"#,
        r#"{"agent":"puppet","action":"status","Data":{}}"#,
        r#"{"agent":"puppet","action":"status"} {}"#,
        r#"{"agent":"puppet","action":""}"#,
        r#"{"agent":"puppet"}"#,
        r#"{"agent":"puppet","action":null}"#,
        "ping",
        "",
    ] {
        error(v2_with_body(body, |_| ()));
    }
}

#[test]
fn an_envelope_that_a_node_reads_otherwise_is_refused() {
    for (find, replace) in [
        (r#""ttl":60"#, r#""ttl":60,"TTL":31536000"#),
        (r#""ttl":60"#, r#""ttl":60,"ttl":31536000"#),
        (r#""agent":"puppet""#, r#""agent":"puppet","aGent":"shell""#),
        (r#""filter":{"#, r#""Filter":{},"filter":{"#),
        (r#""filter":{"#, r#""filter":{"Fact":[],"#),
        (
            r#""caller":"up=eve""#,
            r#""caller":"up=eve","Caller":"up=root""#,
        ),
        ("\"sender\"", "\"\u{17f}ender\":\"x\",\"sender\""),
        (
            r#""protocol":"#,
            r#""Protocol":"choria:request:1","protocol":"#,
        ),
    ] {
        let text = String::from_utf8(v2(|_| ())).unwrap();
        assert!(text.contains(find), "{find}");
        let changed = text.replacen(find, replace, 1);
        assert!(
            matches!(
                error(changed.clone().into_bytes()),
                RequestError::Json(JsonError::Ambiguous(_))
            ),
            "{changed}"
        );
    }
}

#[test]
fn wrong_kinds_are_refused() {
    for (member, value) in [
        ("ttl", serde_json::json!("60")),
        ("ttl", serde_json::json!(60.5)),
        ("time", serde_json::json!(1.5)),
        ("time", serde_json::json!(u64::MAX)),
        ("agent", serde_json::json!(null)),
        ("agent", serde_json::json!("")),
        ("caller", serde_json::json!(1)),
        ("message", serde_json::json!("e30")),
        ("message", serde_json::json!("e3 0=")),
        ("message", serde_json::json!("e30=\n")),
        ("filter", serde_json::json!([])),
        ("protocol", serde_json::json!("choria:request:3")),
        ("protocol", serde_json::json!(["x"])),
    ] {
        error(v2(|r| r[member] = value));
    }
    for member in [
        "id",
        "sender",
        "caller",
        "collective",
        "agent",
        "ttl",
        "time",
        "message",
        "protocol",
    ] {
        error(v2(|r| {
            r.as_object_mut().unwrap().remove(member);
        }));
    }
    error(b"");
    error(b"[]");
    error(vec![b'['; 100_000]);
    error(format!(
        "{{\"a\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    ));
}

mod time {
    use super::*;

    const MADE: i64 = 1_795_347_644;

    fn check(at: i64, ttl: i64) -> Result<(), Untimely> {
        let request = Request::parse(&v2(|r| {
            r["ttl"] = ttl.into();
            r["time"] = (MADE * 1_000_000_000).into();
        }))
        .unwrap();
        request.check_time(Timestamp::from_second(at).unwrap(), TimeLimits::default())
    }

    #[test]
    fn within_its_ttl_it_is_timely() {
        assert_eq!(check(MADE, 60), Ok(()));
        assert_eq!(check(MADE + 60, 60), Ok(()));
        assert_eq!(check(MADE - 60, 60), Ok(()));
        assert_eq!(check(MADE + 3_600, 3_600), Ok(()));
    }

    #[test]
    fn outside_of_it_the_refusal_says_whose_clock_to_check() {
        let past = check(MADE + 61, 60).unwrap_err();
        assert_eq!(
            past.to_string(),
            "the request is 1 min 1 s old and its ttl is 60 s; check the clock of the host that sent it"
        );
        let future = check(MADE - 86_400, 60).unwrap_err();
        assert_eq!(
            future.to_string(),
            "the request is dated 1 d ahead of this signer; check the clock of the host that sent it"
        );
    }

    #[test]
    fn a_ttl_has_bounds() {
        let long = check(MADE, 31_536_000).unwrap_err();
        assert_eq!(
            long,
            Untimely::TtlTooLong {
                ttl: 31_536_000,
                max: 3_600
            }
        );
        assert_eq!(
            check(MADE, 3_601).unwrap_err(),
            Untimely::TtlTooLong {
                ttl: 3_601,
                max: 3_600
            }
        );
        assert_eq!(check(MADE, 0), Err(Untimely::NoTtl));
        assert_eq!(check(MADE, -60), Err(Untimely::NoTtl));
        assert_eq!(check(MADE, i64::MIN), Err(Untimely::NoTtl));
    }
}
