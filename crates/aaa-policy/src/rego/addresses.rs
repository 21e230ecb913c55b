//! Addresses and blocks of them, read and compared as Go does it: without leading zeros, and IPv4 within IPv6 (`::ffff:10.0.0.1`) is IPv4.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use regorus::Value;

use super::alike::{Outcome, texts};
use super::guard::Refusal;

pub(super) fn contains(arguments: &[Value]) -> Outcome {
    let [block, inner] = texts(arguments)?;
    let block = read(block).map(mapped).ok_or(Refusal::Undefined)?;
    let has = |address: IpAddr| block.contains(&address.to_canonical());
    let inside = if let Ok(address) = inner.parse() {
        has(address)
    } else {
        let inner = read(inner).ok_or(Refusal::Undefined)?;
        has(inner.network()) && has(inner.broadcast())
    };
    Ok(Value::from(inside))
}

pub(super) fn is_valid(arguments: &[Value]) -> Outcome {
    let [block] = texts(arguments)?;
    Ok(Value::from(read(block).is_some()))
}

pub(super) fn expand(arguments: &[Value]) -> Outcome {
    let [block] = texts(arguments)?;
    let text = |address: IpAddr| Value::from(address.to_string());
    let all: BTreeSet<Value> = match mapped(read(block).ok_or(Refusal::Undefined)?) {
        IpNet::V4(block) => {
            let places = u32::from(block.network())..=u32::from(block.broadcast());
            places
                .map(|place| text(Ipv4Addr::from(place).into()))
                .collect()
        }
        IpNet::V6(block) => {
            let places = u128::from(block.network())..=u128::from(block.broadcast());
            places
                .map(|place| text(Ipv6Addr::from(place).into()))
                .collect()
        }
    };
    Ok(Value::from(all))
}

/// `ipnet` would read leading zeros of addresses, too; those of lengths are read by both.
fn read(block: &str) -> Option<IpNet> {
    let (address, length) = block.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u32 = length.parse().ok()?;
    IpNet::new(address.parse().ok()?, u8::try_from(length).ok()?).ok()
}

/// A block of IPv4 where it is one within IPv6.
fn mapped(block: IpNet) -> IpNet {
    let short = block.prefix_len().checked_sub(96);
    match (block.network().to_canonical(), short) {
        (IpAddr::V4(address), Some(length)) if matches!(block, IpNet::V6(_)) => {
            Ipv4Net::new(address, length).map_or(block, IpNet::V4)
        }
        _ => block,
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtins::Builtin;
    use super::*;

    fn call(name: &str, arguments: &[&str]) -> Option<String> {
        let arguments: Vec<Value> = arguments.iter().map(|text| Value::from(*text)).collect();
        let result = Builtin::find(name).unwrap().call(&arguments);
        result.ok().map(|value| value.to_string())
    }

    #[test]
    fn blocks_contain_what_they_contain_with_opa() {
        for (block, inner, wanted) in [
            ("10.0.0.0/8", "10.1.2.3", Some("true")),
            ("10.9.9.9/8", "10.1.2.0/24", Some("true")),
            ("10.0.0.0/24", "10.0.0.0/16", Some("false")),
            ("10.0.0.0/08", "10.1.2.3", Some("true")),
            ("10.0.0.0/8", "::ffff:10.1.2.3", Some("true")),
            ("10.0.0.0/8", "::ffff:10.1.2.0/120", Some("true")),
            ("::ffff:10.0.0.0/104", "10.1.2.3", Some("true")),
            ("::/0", "10.1.2.3", Some("false")),
            ("::/0", "::ffff:10.1.2.3", Some("false")),
            ("fd00::/16", "fd00:1::/32", Some("true")),
            ("010.0.0.0/8", "10.1.2.3", None),
            ("10.0.0.0/8", "010.1.2.3", None),
            ("10.0.0.0/+8", "10.1.2.3", None),
            ("10.0.0.0/33", "10.1.2.3", None),
            ("10.0.0.0/4294967304", "10.1.2.3", None),
            ("10.0.0.0/", "10.1.2.3", None),
            ("10.0.0.0", "10.1.2.3", None),
            ("fe80::1%eth0/64", "fe80::1", None),
        ] {
            let said = call("net.cidr_contains", &[block, inner]);
            assert_eq!(said.as_deref(), wanted, "{block} {inner}");
            assert_eq!(call("net.cidr_overlap", &[block, inner]), said);
        }
    }

    #[test]
    fn blocks_are_read_and_expanded_as_with_opa() {
        for (block, wanted) in [
            ("10.0.0.1/8", "true"),
            ("::1/128", "true"),
            ("010.0.0.0/8", "false"),
            ("::1", "false"),
            ("10.0.0.0/+8", "false"),
        ] {
            assert_eq!(
                call("net.cidr_is_valid", &[block]).as_deref(),
                Some(wanted),
                "{block}"
            );
        }
        for (block, wanted) in [
            ("10.0.0.5/31", &["10.0.0.4", "10.0.0.5"] as &[&str]),
            ("255.255.255.255/32", &["255.255.255.255"]),
            ("::ffff:10.0.0.4/127", &["10.0.0.4", "10.0.0.5"]),
            ("ffff::fffe/127", &["ffff::fffe", "ffff::ffff"]),
        ] {
            let wanted: BTreeSet<Value> = wanted.iter().map(|text| Value::from(*text)).collect();
            let said = Builtin::find("net.cidr_expand")
                .unwrap()
                .call(&[Value::from(block)]);
            assert_eq!(said, Ok(Value::from(wanted)), "{block}");
        }
    }
}
