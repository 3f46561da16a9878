//! Neighbours on the local network, by multicast DNS (RFC 6762, RFC 6763): announces this node and
//! listens for others. Knows no certificate and dials nobody: what is heard here is believed nothing.
//! Invariants: what is announced is a number and a port; what others announce takes bounded memory;
//! without multicast the node goes on, and says so once.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mdns_sd::{
    IfKind, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use shared::ids::{DeviceNo, LogId, SiteNo};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::found::AnnouncedName;
use super::meeting::stopped;

/// What neighbours are announced as.
const SERVICE: &str = "_warebook._udp.local.";

/// A node hears its own announcement within a second or two, where anybody would.
const ECHO: Duration = Duration::from_secs(15);

/// It is begun anew so long after a fault.
const AGAIN: Duration = Duration::from_secs(60);

/// How often the memory of what was heard is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A network has a few nodes, with four records each; whoever announces more is up to no good.
const RECORDS_MAX: i64 = 4_096;

/// How long the last word, that this node leaves, may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody says to be there.
    Announced(AnnouncedName, Vec<SocketAddr>),
    /// Nobody says so any more.
    Gone(AnnouncedName),
    /// Listening begins anew: who is still there is announced again.
    Anew,
    /// Multicast works, or why not.
    Works(Result<(), String>),
}

/// What this node says of itself.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    /// Its name, that of nobody else.
    pub(super) name: AnnouncedName,
    /// Where it listens.
    pub(super) listen: SocketAddr,
}

impl Announcement {
    /// The log's name stands in it, for boxes of two companies may have the same numbers.
    pub(super) fn new(site: SiteNo, device: DeviceNo, log: LogId, listen: SocketAddr) -> Self {
        let name = format!("warebook-{site}-{device}-{}", log.short());
        let name = AnnouncedName::parse(&name).expect("two numbers and 16 digits fit into a label");
        Self { name, listen }
    }

    fn service(&self) -> Result<ServiceInfo, mdns_sd::Error> {
        let name = self.name.as_str();
        let host = format!("{name}.local.");
        let nothing: &[(&str, &str)] = &[];
        let (ip, port) = (self.listen.ip(), self.listen.port());
        if !ip.is_unspecified() {
            return ServiceInfo::new(SERVICE, name, &host, ip, port, nothing);
        }
        let mut service = ServiceInfo::new(SERVICE, name, &host, "", port, nothing)?;
        if ip.is_ipv4() {
            service.set_interfaces(vec![IfKind::IPv4]);
        }
        Ok(service.enable_addr_auto())
    }
}

/// Announces and listens until the node stops.
pub(super) async fn run(
    own: Announcement,
    hear: impl Fn(Heard) + Send,
    mut stop: watch::Receiver<bool>,
) {
    let mut is_said = false;
    let mut say = |why: &str| {
        if !is_said {
            tracing::warn!("neighbours are not discovered: {why}; those in node.toml are met");
        }
        is_said = true;
        hear(Heard::Works(Err(why.to_owned())));
    };
    loop {
        match Listener::start(&own) {
            Ok(listener) => {
                let why = tokio::select! {
                    why = listener.listen(&own.name, &hear, &mut say) => why,
                    () = stopped(&mut stop) => return listener.leave().await,
                };
                say(&why);
                hear(Heard::Anew);
                listener.leave().await;
            }
            Err(error) => say(&error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

struct Listener {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl Listener {
    fn start(own: &Announcement) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let begun = own.service().and_then(|service| {
            // What a machine tells itself says nothing of its network.
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            daemon.register(service)?;
            daemon.browse(SERVICE)
        });
        match begun {
            Ok(events) => Ok(Self { daemon, events }),
            Err(error) => {
                drop(daemon.shutdown());
                Err(error)
            }
        }
    }

    /// Ends with a fault.
    async fn listen(
        &self,
        own: &AnnouncedName,
        hear: &impl Fn(Heard),
        say: &mut impl FnMut(&str),
    ) -> String {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut works, echo) = (false, Instant::now() + ECHO);
        let mut is_late = false;
        loop {
            tokio::select! {
                event = self.events.recv_async() => match event.map(heard) {
                    Ok(Some(Heard::Announced(name, _))) if name == *own => {
                        works = true;
                        hear(Heard::Works(Ok(())));
                    }
                    Ok(Some(news)) => hear(news),
                    Ok(None) => {}
                    Err(_) => return "more is announced than can be listened to".to_owned(),
                },
                () = tokio::time::sleep_until(echo), if !works && !is_late => {
                    is_late = true;
                    say("this node does not hear its own announcement: multicast (UDP port 5353) \
                         does not pass here");
                }
                _ = look.tick() => {
                    if self.records().await > RECORDS_MAX {
                        return "somebody floods this network with announcements".to_owned();
                    }
                }
            }
        }
    }

    /// How many records of others are kept.
    async fn records(&self) -> i64 {
        let Ok(asked) = self.daemon.get_metrics() else { return 0 };
        let metrics = asked.recv_async().await.unwrap_or_default();
        let cached = metrics.iter().filter(|(name, _)| name.starts_with("cached-"));
        cached.map(|(_, count)| count).sum()
    }

    /// Says that this node leaves.
    async fn leave(&self) {
        if let Ok(left) = self.daemon.shutdown() {
            let _ = tokio::time::timeout(FAREWELL, left.recv_async()).await;
        }
    }
}

fn heard(event: ServiceEvent) -> Option<Heard> {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let addresses = addresses(&service);
            let name = name_of(&service.fullname)?;
            (!addresses.is_empty()).then_some(Heard::Announced(name, addresses))
        }
        ServiceEvent::ServiceRemoved(_, fullname) => name_of(&fullname).map(Heard::Gone),
        _ => None,
    }
}

fn name_of(fullname: &str) -> Option<AnnouncedName> {
    AnnouncedName::parse(fullname.strip_suffix(SERVICE)?.strip_suffix('.')?)
}

/// Where it may be dialled, the likeliest first: as an IPv4 address, as one that is not of this
/// machine alone.
fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let is_usable = |address: &SocketAddr| {
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
    };
    let all: HashSet<_> =
        service.addresses.iter().filter_map(|ip| address(ip, service.port)).collect();
    let mut usable: Vec<_> = all.into_iter().filter(is_usable).collect();
    usable.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6(), *address));
    usable
}

fn address(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(ip) => Some(SocketAddr::new((*ip.addr()).into(), port)),
        ScopedIp::V6(ip) => {
            let scope = if ip.addr().is_unicast_link_local() { ip.scope_id().index } else { 0 };
            Some(SocketAddrV6::new(*ip.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(listen: &str) -> Announcement {
        let listen = listen.parse().expect("an address");
        Announcement::new(SiteNo(3), DeviceNo(7), LogId([0xab; 32]), listen)
    }

    #[test]
    fn a_node_announces_its_number_and_port_and_nothing_else() {
        let own = announcement("0.0.0.0:7421");
        assert_eq!(own.name.as_str(), "warebook-3-7-abababababababab");
        let service = own.service().expect("a legal service");
        assert_eq!(service.get_fullname(), "warebook-3-7-abababababababab._warebook._udp.local.");
        assert_eq!(service.get_port(), 7421);
        assert!(service.get_properties().is_empty() && service.is_addr_auto());
        let service = announcement("10.0.3.2:7421").service().expect("a legal service");
        assert!(!service.is_addr_auto(), "where it listens alone it is found");
    }

    #[test]
    fn what_is_announced_is_an_address_or_nothing() {
        let resolve = |listen: &str, ips: &str| {
            let own = announcement(listen);
            let host = "x.local.";
            let nothing: &[(&str, &str)] = &[];
            let (name, port) = (own.name.as_str(), own.listen.port());
            let service = ServiceInfo::new(SERVICE, name, host, ips, port, nothing);
            let service = service.expect("a legal service").as_resolved_service();
            heard(ServiceEvent::ServiceResolved(Box::new(service)))
        };
        let at = |texts: &[&str]| {
            let parsed = texts.iter().map(|text| text.parse().expect("an address")).collect();
            Some(Heard::Announced(announcement("0.0.0.0:1").name, parsed))
        };
        let many = "127.0.0.1,2001:db8::1,10.0.0.2,0.0.0.0,224.0.0.1,255.255.255.255";
        assert_eq!(
            resolve("0.0.0.0:9", many),
            at(&["10.0.0.2:9", "[2001:db8::1]:9", "127.0.0.1:9"])
        );
        assert_eq!(resolve("0.0.0.0:0", many), None);
        assert_eq!(resolve("0.0.0.0:9", "0.0.0.0"), None);
        let removed =
            |name: &str| heard(ServiceEvent::ServiceRemoved(SERVICE.to_owned(), name.to_owned()));
        assert_eq!(removed("a\u{7}._warebook._udp.local."), None);
        let a = AnnouncedName::parse("a").expect("a legal name");
        assert_eq!(removed("a._warebook._udp.local."), Some(Heard::Gone(a)));
    }
}
