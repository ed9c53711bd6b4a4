// SPDX-License-Identifier: Apache-2.0

/// An event of a watch.
package enum WatchEvent<Object: Sendable>: Sendable {
    /// An object is new or has changed (`ADDED`, `MODIFIED`); its present state. A broken watch continues from the
    /// version.
    case updated(Object, resourceVersion: String)
    /// An object is deleted, or no longer matches the selector (`DELETED`); its last state.
    case deleted(Object, resourceVersion: String)
    /// Nothing else has changed up to this version (`BOOKMARK`). `endsInitialEvents` is true when all objects that
    /// existed at the start of the watch have arrived, in a watch that requested them (`sendInitialEvents`).
    case bookmark(resourceVersion: String, endsInitialEvents: Bool)
    /// The watch has failed (`ERROR`) and will end; code 410 means that its version is too old.
    case failed(KubernetesStatus)
}

extension WatchEvent: Equatable where Object: Equatable {}
