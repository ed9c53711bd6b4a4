// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// Which pods are behind services that have addresses outside the cluster, node by node: a pod that answers from a load
/// balancer's address has nothing else to be told by.
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

    /// The only pod of a place; nil where there is none, or several.
    func onlyPod(at place: Place) -> ObjectUID? {
        guard let pods = pods[place], pods.count == 1 else { return nil }
        return pods.first
    }

    /// Adds a service whose pods are those of a namespace with certain labels; ``addPod(_:labels:onNode:behind:)`` is told of those
    /// that are there.
    mutating func addService(_ uid: ObjectUID, inNamespace namespace: String, selecting labels: LabelSignature) {
        selectors[uid] = Selector(namespace: namespace, labels: labels)
        services[namespace, default: []].insert(uid)
    }

    /// Removes a service.
    mutating func removeService(_ uid: ObjectUID) {
        guard let selector = selectors.removeValue(forKey: uid) else { return }
        services[selector.namespace]?.remove(uid)
        if services[selector.namespace]?.isEmpty == true { services[selector.namespace] = nil }
        pods = pods.filter { $0.key.service != uid }
    }

    /// Adds a pod to a service that it was there before; nil where the service does not select it.
    mutating func addPod(
        _ uid: ObjectUID, labels: LabelSignature, onNode node: Int32, behind service: ObjectUID
    ) -> Place? {
        guard let selector = selectors[service], labels.meets(selector.labels) else { return nil }
        let place = Place(service: service, node: node)
        pods[place, default: []].insert(uid)
        return place
    }

    /// Adds a pod, and returns the places that it is at.
    mutating func addPod(
        _ uid: ObjectUID, inNamespace namespace: String, labels: LabelSignature, onNode node: Int32
    ) -> [Place] {
        let places = places(inNamespace: namespace, labels, node)
        for place in places { pods[place, default: []].insert(uid) }
        return places
    }

    /// Removes a pod, and returns the places that it was at.
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
