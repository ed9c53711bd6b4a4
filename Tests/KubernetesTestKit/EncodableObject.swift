// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
import FlowModel

/// An object that can be encoded in a list or a watch.
public protocol EncodableObject: Sendable {
    /// The object's `kind` and `apiVersion`.
    static var kind: (name: String, apiVersion: String) { get }

    /// Returns the object's message. `padding` is the approximate number of bytes of unused fields; a real pod has
    /// 2,000 to 4,000 of them. `annotations` are added to those of the object's encoding.
    func message(resourceVersion: String, padding: Int, annotations: [String: String]) -> [UInt8]
}

extension EncodableObject {
    /// Returns the object's message without additional annotations.
    public func message(resourceVersion: String, padding: Int) -> [UInt8] {
        message(resourceVersion: resourceVersion, padding: padding, annotations: [:])
    }
}

extension Pod: EncodableObject {
    /// The object's `kind` and `apiVersion`.
    public static var kind: (name: String, apiVersion: String) { ("Pod", "v1") }

    /// Returns the pod's message; each of its column labels becomes a label with the default key, or that is named as
    /// the setting if there is none (`cell`), and secondary addresses become Multus' annotation.
    public func message(resourceVersion: String, padding: Int, annotations: [String: String]) -> [UInt8] {
        var annotations = annotations
        if !secondaryAddresses.isEmpty {
            let addresses = (addresses + secondaryAddresses).map { "\"\($0)\"" }.joined(separator: ",")
            annotations["k8s.v1.cni.cncf.io/network-status"] = #"[{"name":"net","ips":[\#(addresses)],"dns":{}}]"#
        }
        var labels = labels
        for (label, setting, defaultKeys) in Label.ofPodLabels {
            if let text = columnLabels[label] { labels[defaultKeys.first ?? setting] = text }
        }
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.appendMetadata(
                name: name, namespace: namespace, uid: uid, resourceVersion: resourceVersion, createdAt: startedAt,
                labels: labels, annotations: annotations, owner: owner, padding: padding / 2)
        }
        message.append(2) { spec in
            if padding > 0 { spec.append(2) { $0.appendContainer(padding: padding / 2) } }
            spec.append(3, "Always")
            spec.append(10, node)
            if hostNetwork { spec.append(11, 1) }
            spec.append(19, "default-scheduler")
        }
        message.append(3) { status in
            status.append(1, isTerminated ? "Succeeded" : "Running")
            if let first = hostAddresses.first { status.append(5, first.description) }
            if let first = addresses.first { status.append(6, first.description) }
            if startedAt > 0 { status.append(7) { $0.append(1, Int(startedAt)) } }
            status.append(9, "Burstable")
            for address in addresses { status.append(12) { $0.append(1, address.description) } }
            for address in hostAddresses { status.append(16) { $0.append(1, address.description) } }
        }
        return message.bytes
    }
}

extension Node: EncodableObject {
    /// The object's `kind` and `apiVersion`.
    public static var kind: (name: String, apiVersion: String) { ("Node", "v1") }

    /// Returns the node's message; the first address is its `InternalIP`, the others are external.
    public func message(resourceVersion: String, padding: Int, annotations: [String: String]) -> [UInt8] {
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.appendMetadata(
                name: name, uid: uid, resourceVersion: resourceVersion, createdAt: createdAt,
                labels: zone.isEmpty ? [:] : ["topology.kubernetes.io/zone": zone], annotations: annotations,
                padding: padding)
        }
        message.append(2) { spec in
            if let first = podNetworks.first { spec.append(1, first.description) }
            spec.append(3, "cloud:///\(name)")
            for network in podNetworks { spec.append(7, network.description) }
        }
        message.append(3) { status in
            for (index, address) in addresses.enumerated() {
                status.append(5) { entry in
                    entry.append(1, index == 0 ? "InternalIP" : "ExternalIP")
                    entry.append(2, address.description)
                }
            }
            status.append(5) { entry in
                entry.append(1, "Hostname")
                entry.append(2, name)
            }
        }
        return message.bytes
    }
}

extension ClusterService: EncodableObject {
    /// The object's `kind` and `apiVersion`.
    public static var kind: (name: String, apiVersion: String) { ("Service", "v1") }

    /// Returns the service's message; without cluster addresses it is headless. The first external address is the load
    /// balancer's, the others are `externalIPs`.
    public func message(resourceVersion: String, padding: Int, annotations: [String: String]) -> [UInt8] {
        let addresses = clusterAddresses.isEmpty ? ["None"] : clusterAddresses.map(\.description)
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.appendMetadata(
                name: name, namespace: namespace, uid: uid, resourceVersion: resourceVersion, createdAt: createdAt,
                annotations: annotations, padding: padding)
        }
        message.append(2) { spec in
            for port in ports { spec.append(1) { $0.append(port) } }
            for (key, value) in selector { spec.append(2, entry: key, value) }
            spec.append(3, addresses[0])
            spec.append(4, externalAddresses.isEmpty ? "ClusterIP" : "LoadBalancer")
            for address in externalAddresses.dropFirst() { spec.append(5, address.description) }
            for address in addresses { spec.append(18, address) }
        }
        message.append(3) { status in
            status.append(1) { balancer in
                if let first = externalAddresses.first { balancer.append(1) { $0.append(1, first.description) } }
            }
        }
        return message.bytes
    }
}

extension ReplicaSet: EncodableObject {
    /// The object's `kind` and `apiVersion`.
    public static var kind: (name: String, apiVersion: String) { ("PartialObjectMetadata", "meta.k8s.io/v1") }

    /// Returns the ReplicaSet's metadata; it is named after its owner.
    public func message(resourceVersion: String, padding: Int, annotations: [String: String]) -> [UInt8] {
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.appendMetadata(
                name: "\(owner?.name ?? "lonely")-7d4b9c6f5", namespace: "default", uid: uid,
                resourceVersion: resourceVersion, annotations: annotations, owner: owner, padding: padding)
        }
        return message.bytes
    }
}

extension ObjectUID {
    /// The UID in the API server's format: `d471f453-2d64-45a7-a734-531e54b8e51e`.
    public var text: String {
        let digits = String(bits, radix: 16)
        var text = String(repeating: "0", count: 32 - digits.count) + digits
        for offset in [20, 16, 12, 8] { text.insert("-", at: text.index(text.startIndex, offsetBy: offset)) }
        return text
    }
}

extension ProtobufWriter {
    fileprivate mutating func appendMetadata(
        name: String, namespace: String = "", uid: ObjectUID, resourceVersion: String, createdAt: UInt32 = 0,
        labels: [String: String] = [:], annotations: [String: String] = [:], owner: ObjectOwner? = nil, padding: Int
    ) {
        append(1, name)
        append(2, "")
        append(3, namespace)
        append(4, "")
        append(5, uid.text)
        append(6, resourceVersion)
        append(7, 0)
        append(8) { time in
            if createdAt > 0 { time.append(1, Int(createdAt)) }
        }
        for (key, value) in labels { append(11, entry: key, value) }
        for (key, value) in annotations.sorted(by: { $0.key < $1.key }) { append(12, entry: key, value) }
        if let owner {
            append(13) { reference in
                reference.append(1, owner.kind)
                reference.append(3, owner.name)
                reference.append(4, owner.uid.text)
                reference.append(5, "apps/v1")
                reference.append(6, 1)
                reference.append(7, 1)
            }
        }
        if padding > 0 {
            append(17) { managed in
                managed.append(1, "kubelet")
                managed.append(2, "Update")
                managed.append(3, "v1")
                managed.append(6, "FieldsV1")
                managed.append(7) { $0.append(1, Self.managedFields(padding)) }
            }
        }
    }

    fileprivate mutating func append(_ port: ClusterService.Port) {
        append(1, "port-\(port.number)")
        append(2, [.udp: "UDP", .sctp: "SCTP"][port.transport] ?? "TCP")
        append(3, Int(port.number))
        append(5, Int(port.nodePort))
    }

    fileprivate mutating func appendContainer(padding: Int) {
        append(1, "main")
        append(2, "registry.example/app:1")
        for index in 0..<max(1, padding / 64) {
            append(7) { variable in
                variable.append(1, "SETTING_\(index)_OF_THE_APPLICATION")
                variable.append(2, "value-\(index)-of-the-setting")
            }
        }
    }

    private static func managedFields(_ length: Int) -> String {
        let field = #""f:status":{"f:conditions":{".":{},"f:lastProbeTime":{}}},"#
        return "{" + String(repeating: field, count: max(1, length / field.utf8.count)) + #""f:phase":{}}"#
    }
}
