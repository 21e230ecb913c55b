//! A key that fails after its decision went on record.

use aaa_core::audit::Effect;

use super::*;

#[tokio::test]
async fn what_is_on_record_as_signed_and_is_not_has_a_second_record() {
    let site = Site::new();
    let context = Context::new("exchange-1", Front::Rest);
    let asked = site.ask(request("puppet", "status"));
    let received = Received::read(asked, &context).ok().unwrap();
    let keys = site.pipeline.keys.load_full();
    let authorized = site.pipeline.decide(&keys, received).ok().unwrap();
    let recorded = authorized.record(&site.pipeline).await.unwrap();
    let without_a_key = Keys::new(Vec::new(), Vec::new());
    let unsigned = recorded.sign(&without_a_key).err().unwrap();
    unsigned.record(&site.pipeline).await.unwrap();

    let records = site.records();
    let told = |record: &Record| (record.outcome.clone(), record.effect);
    let rule = "puppet.status".to_owned();
    let allowed = Outcome::Allowed { rule };
    assert_eq!(told(&records[0]), (allowed.clone(), Effect::Signed));
    assert_eq!(told(&records[1]), (allowed, Effect::Failed));
    assert_eq!(records[0].token, records[1].token);
}
