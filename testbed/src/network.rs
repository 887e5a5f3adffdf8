//! A network of its own, whose links to this one are cut and mended: ip-netns(8), veth(4).

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
};

use crate::{Port, Way};

/// Where named namespaces are.
const NAMES: &str = "/run/netns";
/// What names of ours begin with; the process and a port of its own follow.
const OURS: &str = "maru-test-";
/// A neighbour that there is not.
const NOBODY: &str = "02:00:00:00:00:01";

/// A network namespace, gone when it is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    _claim: Port,
}

impl Network {
    /// An empty one, but for its loopback. What processes left behind that are no more is cleared away.
    ///
    /// # Errors
    /// With a sentence, where the machine does not allow it: it takes root and `ip`.
    pub fn new() -> Result<Self, String> {
        clear_away();
        // Nobody else has its number, so names and addresses that are made of it are nobody else's.
        let claim = Port::any();
        let name = format!("{OURS}{}-{}", std::process::id(), claim.number());
        ip(&["netns", "add", &name])?;
        let network = Network { name, _claim: claim };
        network.inside(&["link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// The words before a program that make it run in here.
    pub fn tool(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).into()
    }

    /// A link between here and there, with an address at each end.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn link(&self) -> Result<Link<'_>, String> {
        let claim = Port::any();
        let [outer_name, inner_name] = ["o", "i"].map(|end| format!("mt{}{end}", claim.number()));
        // A network of four addresses in 198.18.0.0/15, which RFC 2544 sets aside for tests, for each port that there is.
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + 4 * u32::from(claim.number());
        let [outer, inner] = [1, 2].map(|n| Ipv4Addr::from(base + n));
        // A name in use is a leftover: its number is ours.
        _ = ip(&["link", "del", &outer_name]);
        ip(&["link", "add", &outer_name, "type", "veth", "peer", "name", &inner_name, "netns", &self.name])?;
        let link = Link { network: self, outer_name, inner_name, outer, inner, _claim: claim };
        ip(&["addr", "add", &format!("{outer}/30"), "dev", &link.outer_name])?;
        ip(&["link", "set", &link.outer_name, "up"])?;
        self.inside(&["addr", "add", &format!("{inner}/30"), "dev", &link.inner_name])?;
        self.inside(&["link", "set", &link.inner_name, "up"])?;
        Ok(link)
    }

    fn inside(&self, words: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Its links go with it.
        _ = ip(&["netns", "del", &self.name]);
    }
}

/// A link into a [`Network`]; gone when it is dropped.
#[derive(Debug)]
pub struct Link<'a> {
    network: &'a Network,
    outer_name: String,
    inner_name: String,
    outer: Ipv4Addr,
    inner: Ipv4Addr,
    _claim: Port,
}

impl Link<'_> {
    /// The address of its end here.
    pub fn outer(&self) -> IpAddr {
        self.outer.into()
    }

    /// The address of its end in there.
    pub fn inner(&self) -> IpAddr {
        self.inner.into()
    }

    /// Pulls the plug: in there the interface is down, and whoever connects from there is told so at once.
    ///
    /// # Panics
    /// When it cannot be done, as all here.
    pub fn set_down(&self) {
        self.set("down");
    }

    /// Puts it in again.
    pub fn set_up(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) {
        self.network.inside(&["link", "set", &self.inner_name, state]).expect("a link can be set");
    }

    /// Packets that go in there (up), or come from there (down), arrive at nobody, and nobody is told.
    pub fn cut(&self, way: Way) {
        self.each(way, "replace", &["lladdr", NOBODY, "nud", "permanent"]);
    }

    /// Packets arrive again both ways.
    pub fn mend(&self) {
        self.each(Way::Both, "del", &[]);
    }

    /// Says who is at the other end.
    fn each(&self, way: Way, what: &str, rest: &[&str]) {
        let (outer, inner) = (self.outer.to_string(), self.inner.to_string());
        if way != Way::Down {
            let told = ip(&[&["neigh", what, &inner, "dev", &self.outer_name], rest].concat());
            assert!(told.is_ok() || what == "del", "{told:?}");
        }
        if way != Way::Up {
            let told =
                self.network.inside(&[&["neigh", what, &outer, "dev", &self.inner_name], rest].concat());
            assert!(told.is_ok() || what == "del", "{told:?}");
        }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        _ = ip(&["link", "del", &self.outer_name]);
    }
}

/// Namespaces whose makers are no more.
fn clear_away() {
    for entry in std::fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(OURS).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|e| format!("ip cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {} said: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        process::{Child, Stdio},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::process::Process;

    /// Somebody who listens in there, until it is dropped.
    struct Listener(Child);

    impl Listener {
        fn start(network: &Network, address: SocketAddr) -> Self {
            const PROGRAM: &str = "import socket, sys, time
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
time.sleep(600)";
            let tool = network.tool();
            let mut command = Command::new(&tool[0]);
            command.args(&tool[1..]).args(["python3", "-c", PROGRAM]);
            command.args([address.ip().to_string(), address.port().to_string()]).stdin(Stdio::null());
            let listener = Listener(command.spawn().expect("python3 runs"));
            wait_for("somebody listens in there", || Process::listens(address));
            listener
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !is_true() {
            assert!(Instant::now() < until, "it never came true: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_link_is_cut_each_way_and_mended() {
        let network = match Network::new() {
            Ok(network) => network,
            Err(why) => return eprintln!("not tried here: {why}"),
        };
        let names = network.name.clone();
        let link = network.link().unwrap();
        let address: SocketAddr = (link.inner(), 4000).into();
        let _listener = Listener::start(&network, address);
        for way in [Way::Up, Way::Down, Way::Both] {
            link.cut(way);
            assert!(!Process::listens(address), "{way:?}");
            link.mend();
            wait_for("it is mended", || Process::listens(address));
        }
        link.set_down();
        assert!(!Process::listens(address));
        link.set_up();
        wait_for("it is up again", || Process::listens(address));
        drop(link);
        drop(network);
        assert!(!Path::new(NAMES).join(names).exists());
    }

    #[test]
    fn what_dead_processes_left_behind_is_cleared_away() {
        let mut dead = Command::new("true").spawn().unwrap();
        let name = format!("{OURS}{}-0", dead.id());
        dead.wait().unwrap();
        if let Err(why) = ip(&["netns", "add", &name]) {
            return eprintln!("not tried here: {why}");
        }
        let network = Network::new().unwrap();
        assert!(!Path::new(NAMES).join(name).exists());
        assert!(Path::new(NAMES).join(&network.name).exists());
    }
}
