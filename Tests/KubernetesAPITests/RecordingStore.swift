// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import KubernetesAPI
import KubernetesTestKit
import Synchronization

/// A store that keeps objects by their keys and records its calls.
final class RecordingStore<Object: FixtureObject & Equatable>: ObjectStore {
    struct State: Sendable {
        var objects: [String: Object] = [:]
        var next: [String: Object]?
        var commits = 0
        var abandons = 0
        var changes = 0
        /// Calls that break the protocol of a store.
        var breaches: [String] = []
    }

    private let state = Mutex(State())

    var value: State { state.withLock { $0 } }

    var keys: Set<String> { state.withLock { Set($0.objects.keys) } }

    func beginReplacement() {
        state.withLock {
            if $0.next != nil { $0.breaches.append("began twice") }
            $0.next = [:]
        }
    }

    func add(_ object: Object) {
        state.withLock {
            if $0.next == nil { $0.breaches.append("added to nothing") }
            $0.next?[object.key] = object
        }
    }

    func commitReplacement() {
        state.withLock {
            if let next = $0.next { $0.objects = next } else { $0.breaches.append("committed nothing") }
            $0.next = nil
            $0.commits += 1
        }
    }

    func abandonReplacement() {
        state.withLock {
            if $0.next == nil { $0.breaches.append("abandoned nothing") }
            $0.next = nil
            $0.abandons += 1
        }
    }

    func apply(_ changes: [ObjectChange<Object>]) {
        state.withLock {
            if $0.commits == 0 || $0.next != nil { $0.breaches.append("changed what is not whole") }
            $0.changes += changes.count
            for change in changes {
                switch change {
                case .updated(let object): $0.objects[object.key] = object
                case .deleted(let object): $0.objects[object.key] = nil
                }
            }
        }
    }
}
