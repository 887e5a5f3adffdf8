//! stub
#![allow(missing_docs, dead_code, unused)]
use std::net::IpAddr;
use ipnet::IpNet;
pub fn client_address<'a>(p: IpAddr, f: impl Iterator<Item=&'a [u8]>, t: &[IpNet]) -> IpAddr { p }
pub fn is_trusted(p: IpAddr, t: &[IpNet]) -> bool { false }
