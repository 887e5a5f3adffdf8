//! Proxies between pods and what they speak to, which fail as networks do.

use std::{
    cell::{Ref, RefCell},
    net::IpAddr,
};

use testbed::FaultProxy;

use super::{Maru, Server, Servers, Start};

/// Where a way leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// From clients to this pod.
    Pod(usize),
    /// From this pod to a server.
    Server(usize, Server),
}

/// The ways of the deployment that was started last.
#[derive(Default)]
pub struct Ways(RefCell<Vec<(To, FaultProxy)>>);

impl Ways {
    /// Pods of which each has a way of its own to each of its servers.
    pub fn to_servers(&self) -> Maru {
        self.0.take();
        Maru::each_begun_as(|n, servers, start| {
            self.lead(n, servers.expect("pods stand on servers"), start, FaultProxy::to);
        })
    }

    /// A pod's ways to its servers begin at this address instead.
    pub fn lead_from(&self, host: IpAddr, n: usize, servers: &Servers, start: &mut Start) {
        self.lead(n, servers, start, |target| FaultProxy::at(host, target));
    }

    fn lead(
        &self,
        n: usize,
        servers: &Servers,
        start: &mut Start,
        begin: impl Fn(std::net::SocketAddr) -> FaultProxy,
    ) {
        let args = servers.args_by(|server, address| {
            let proxy = begin(address);
            let begins_at = proxy.address();
            self.0.borrow_mut().push((To::Server(n, server), proxy));
            begins_at
        });
        args.chunks(2).for_each(|arg| start.set(&arg[0], &arg[1]));
    }

    /// Pods that clients reach by proxies.
    pub fn to_pods(&self) -> Maru {
        self.0.take();
        let maru = Maru::on_servers_of_its_own(&[], None);
        let proxies: Vec<_> = maru.pods().iter().map(|pod| FaultProxy::to(pod.address())).collect();
        let addresses = proxies.iter().map(FaultProxy::address).collect();
        self.0.borrow_mut().extend(proxies.into_iter().enumerate().map(|(n, proxy)| (To::Pod(n), proxy)));
        maru.reached_at(addresses)
    }

    /// One of them.
    pub fn to(&self, to: To) -> Ref<'_, FaultProxy> {
        Ref::map(self.0.borrow(), |ways| {
            let (_, proxy) = ways.iter().find(|(leads, _)| *leads == to).expect("there is such a way");
            proxy
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    /// The nth of them.
    pub fn nth(&self, n: u64) -> Ref<'_, FaultProxy> {
        Ref::map(self.0.borrow(), |ways| &ways[usize::try_from(n).expect("there are few")].1)
    }

    /// Nothing more happens to any.
    pub fn heal(&self) {
        self.0.borrow().iter().for_each(|(_, proxy)| proxy.heal());
    }

    /// Takes them away, with all that they carry.
    pub fn take_away(&self) {
        self.0.take();
    }
}
