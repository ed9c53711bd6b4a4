// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// The pods behind services with external addresses, by node: nothing else identifies a pod that answers from a load
/// balancer's address.
struct ServiceBackends: Sendable {
    /// The pods of one node behind one service.
    struct Place: Hashable, Sendable {
        let service: ObjectUID
        let node: Int32
    }

    private struct Selector: Sendable {
        let namespace: String
        let labels: LabelSignature
    }

    private var selectors: [ObjectUID: Selector] = [:]
    private var services: [String: Set<ObjectUID>] = [:]
    private var pods: [Place: Set<ObjectUID>] = [:]

    /// Whether there is no service.
    var isEmpty: Bool { selectors.isEmpty }

    /// Returns the only pod at a place; nil if there is no pod or several.
    func onlyPod(at place: Place) -> ObjectUID? {
        guard let pods = pods[place], pods.count == 1 else { return nil }
        return pods.first
    }

    /// Adds a service that selects pods of a namespace by their labels. Existing pods are added with
    /// ``addPod(_:labels:onNode:behind:)``.
    mutating func addService(_ uid: ObjectUID, inNamespace namespace: String, selecting labels: LabelSignature) {
        selectors[uid] = Selector(namespace: namespace, labels: labels)
        services[namespace, default: []].insert(uid)
    }

    mutating func removeService(_ uid: ObjectUID) {
        guard let selector = selectors.removeValue(forKey: uid) else { return }
        services[selector.namespace]?.remove(uid)
        if services[selector.namespace]?.isEmpty == true { services[selector.namespace] = nil }
        pods = pods.filter { $0.key.service != uid }
    }

    /// Adds a pod that existed before the service, and returns its place; nil if the service does not select it.
    mutating func addPod(
        _ uid: ObjectUID, labels: LabelSignature, onNode node: Int32, behind service: ObjectUID
    ) -> Place? {
        guard let selector = selectors[service], labels.meets(selector.labels) else { return nil }
        let place = Place(service: service, node: node)
        pods[place, default: []].insert(uid)
        return place
    }

    /// Adds a pod, and returns its places.
    mutating func addPod(
        _ uid: ObjectUID, inNamespace namespace: String, labels: LabelSignature, onNode node: Int32
    ) -> [Place] {
        let places = places(inNamespace: namespace, labels, node)
        for place in places { pods[place, default: []].insert(uid) }
        return places
    }

    /// Removes a pod, and returns its former places.
    mutating func removePod(
        _ uid: ObjectUID, inNamespace namespace: String, labels: LabelSignature, onNode node: Int32
    ) -> [Place] {
        let places = places(inNamespace: namespace, labels, node)
        for place in places {
            pods[place]?.remove(uid)
            if pods[place]?.isEmpty == true { pods[place] = nil }
        }
        return places
    }

    private func places(inNamespace namespace: String, _ labels: LabelSignature, _ node: Int32) -> [Place] {
        (services[namespace] ?? []).compactMap { service in
            guard let selector = selectors[service], labels.meets(selector.labels) else { return nil }
            return Place(service: service, node: node)
        }
    }
}
