//! One pod of three in a network of its own, whose links are cut: the one to the servers, the one to its clients, one way
//! or both.

use std::time::Duration;

use testbed::{Network, Way};

use super::ways::{is_healed, is_refused, reader};
use crate::{
    harness::{Maru, Ways, at_length},
    trial::{Progress, Trial, harmed_on},
};

#[test]
fn a_pod_is_cut_off_from_servers_and_clients_and_comes_back() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => return eprintln!("not tried here: {why}"),
    };
    let (clients, servers) = (network.link().expect("a link"), network.link().expect("a link"));
    let ways = Ways::default();
    let start = || {
        ways.take_away();
        Maru::each_begun_as(|n, on, start| {
            if n == 0 {
                start.tool = network.tool();
                start.host = clients.inner();
                ways.lead_from(servers.outer(), n, on.expect("pods stand on servers"), start);
            }
        })
    };
    let harm = |maru: &mut Maru, progress: &Progress| {
        let cuts: [&dyn Fn(); 4] =
            [&|| servers.cut(Way::Both), &|| servers.cut(Way::Up), &|| servers.cut(Way::Down), &|| {
                servers.set_down();
            }];
        let first = progress.any(0..4) as usize;
        let rounds = if at_length(1) > 1 { 4 } else { 1 };
        for n in 0..rounds {
            let mut reader = reader(maru);
            cuts[(first + n) % 4]();
            is_refused(maru, progress);
            servers.set_up();
            servers.mend();
            is_healed(maru, &mut reader);
            // Its clients alone, who go elsewhere.
            clients.cut([Way::Both, Way::Up, Way::Down][progress.any(0..3) as usize]);
            progress.go_on_for(Duration::from_secs(2), u64::MAX);
            // And all of it.
            servers.cut(Way::Both);
            progress.go_on_for(Duration::from_secs(2), u64::MAX);
            servers.mend();
            clients.mend();
            progress.go_on(50);
        }
    };
    harmed_on(start, "one pod is partitioned", harm, Trial::assert_holds);
}
