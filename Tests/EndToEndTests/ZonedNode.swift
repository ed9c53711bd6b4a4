// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A node on which a connection passes several conntrack zones, as with CNIs that track at every hop (OVN-Kubernetes,
/// Antrea, Kube-OVN): between two zones packets leave the node and come back.
///
///     zone-pod-0 ── a0 ▏zone 0 ▏b0 ── zone-pod-1 ── a1 ▏zone 1 ▏b1 ── … ── the last pod, which serves
///                         └──────────── zone-node ─────────┘
struct ZonedNode {
    /// The client's address; it reaches ``server`` also by the service address 10.96.0.80.
    static let client = "10.244.1.20"
    static let server = "10.244.2.10"
    static let node = "zone-node"
    /// The sandbox's address on the link to the node.
    static let sandbox = "172.19.0.1"

    let zones: [Int]
    /// The hop that translates the source; nil for none.
    var sourceTranslation: Int?
    /// The hop that translates the destination; nil for none.
    var destinationTranslation: Int?

    private var lastHop: Int { zones.count - 1 }
    var serverPod: String { "zone-pod-\(zones.count)" }

    /// Makes the node, runs `body` and removes it.
    func run(_ body: () async throws -> Void) async throws {
        try NetworkNamespace.requireSandbox()
        await Self.remove()
        do {
            try await ChildProcess.shell(script)
            try await body()
        } catch {
            await Self.remove()
            throw error
        }
        await Self.remove()
    }

    private static func remove() async {
        _ = try? await ChildProcess.shell(
            """
            for name in $(ip netns list | grep -o '^zone-[^ ]*'); do
                ip netns pids $name | xargs -r kill -KILL
                ip netns delete $name
            done
            # Not only when the kernel gets to it.
            ip link delete zone-node 2>/dev/null || true
            """)
    }

    /// Assigns other zones to the hops but the last; this affects only later packets.
    func setZones(_ zones: [Int]) async throws {
        try await ChildProcess.shell("ip netns exec \(Self.node) nft -f - <<'END'\n\(Self.zoneRules(zones))END")
    }

    /// Returns the bytes that have passed the node, as its firewall counts them at both ends of the last hop: its zone
    /// never changes, so that it knows every connection from its first packet.
    func passedBytes() async throws -> UInt64 {
        let text = try await ChildProcess.shell("ip netns exec \(Self.node) nft list counter ip truth passed")
        return text.firstMatch(of: /bytes (\d+)/).flatMap { UInt64($0.1) } ?? 0
    }

    private static func zoneRules(_ zones: [Int]) -> String {
        var rules = """
            table ip zones
            delete table ip zones
            table ip zones {
            chain choose {
            type filter hook prerouting priority raw

            """
        for (hop, zone) in zones.enumerated() where zone != 0 {
            rules += "iifname { a\(hop), b\(hop) } ct zone set \(zone)\n"
        }
        return rules + "}\n}\n"
    }

    private var script: String {
        let settings = "net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
        var script = ""
        for name in [Self.node] + (0...zones.count).map({ "zone-pod-\($0)" }) {
            script += """
                ip netns add \(name)
                ip -n \(name) link set lo up
                ip netns exec \(name) sysctl -qw \(settings)

                """
        }
        script += """
            ip link add zone-node type veth peer name uplink netns \(Self.node)
            ip address add \(Self.sandbox)/30 dev zone-node
            ip link set zone-node up
            ip -n \(Self.node) address add 172.19.0.2/30 dev uplink
            ip -n \(Self.node) link set uplink up
            ip -n zone-pod-0 address add \(Self.client)/32 dev lo
            ip -n \(serverPod) address add \(Self.server)/32 dev lo

            """
        for hop in zones.indices {
            for (link, pod, number) in [("a", hop, 0), ("b", hop + 1, 4)] {
                // Neighbours are fixed as in tools/lab: a packet that waited for its neighbour's address would be sent
                // again.
                let (near, far) = ("02:00:00:0\(hop):0\(number):01", "02:00:00:0\(hop):0\(number):02")
                script += """
                    ip link add \(link)\(hop) address \(near) netns \(Self.node) type veth \
                        peer name \(link)\(hop) address \(far) netns zone-pod-\(pod)
                    ip -n \(Self.node) address add 10.8.\(hop).\(number + 1)/30 dev \(link)\(hop)
                    ip -n \(Self.node) link set \(link)\(hop) up
                    ip -n zone-pod-\(pod) address add 10.8.\(hop).\(number + 2)/30 dev \(link)\(hop)
                    ip -n zone-pod-\(pod) link set \(link)\(hop) up
                    ip -n \(Self.node) neighbour add 10.8.\(hop).\(number + 2) lladdr \(far) dev \(link)\(hop)
                    ip -n zone-pod-\(pod) neighbour add 10.8.\(hop).\(number + 1) lladdr \(near) dev \(link)\(hop)

                    """
            }
            // Tables 100 + hop lead away from the client, tables 200 + hop back to it.
            script += """
                ip -n \(Self.node) route add default via 10.8.\(hop).6 table \(100 + hop)
                ip -n \(Self.node) route add default via 10.8.\(hop).2 table \(200 + hop)
                ip -n \(Self.node) rule add iif a\(hop) lookup \(100 + hop)
                ip -n \(Self.node) rule add iif b\(hop) lookup \(200 + hop)
                ip -n zone-pod-\(hop) route add default via 10.8.\(hop).1 \(hop == 0 ? "src \(Self.client)" : "")
                ip -n zone-pod-\(hop + 1) route add \(Self.client)/32 via 10.8.\(hop).5

                """
        }
        // Replies to a translated source return by the way of the request.
        let translated = sourceTranslation.map { _ in "10.7.0.1" }
        if let translated, let hop = sourceTranslation {
            for pod in (hop + 1)...zones.count {
                script += "ip -n zone-pod-\(pod) route add \(translated)/32 via 10.8.\(pod - 1).5\n"
            }
        }
        script += """
            ip netns exec \(Self.node) nft -f - <<'END'
            \(Self.zoneRules(zones))
            table ip truth {
                counter passed { }
                chain last {
                    type filter hook prerouting priority -50
                    iifname { a\(lastHop), b\(lastHop) } ct state != { invalid, untracked } counter name passed
                }
            }
            table ip translation {
                chain source {
                    type nat hook postrouting priority srcnat
                    \(sourceTranslation.map { "iifname a\($0) oifname b\($0) snat to 10.7.0.1" } ?? "")
                }
                chain destination {
                    type nat hook prerouting priority dstnat
                    \(destinationTranslation.map { "iifname a\($0) ip daddr 10.96.0.80 dnat to \(Self.server)" } ?? "")
                }
            }
            END
            ip netns exec \(Self.node) sysctl -qw net.netfilter.nf_conntrack_acct=1 \
                net.netfilter.nf_conntrack_tcp_loose=1

            """
        return script
    }
}
