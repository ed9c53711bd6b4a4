// SPDX-License-Identifier: Apache-2.0

/// What a watch tells.
package enum WatchEvent<Object: Sendable>: Sendable {
    /// An object is new or has changed (`ADDED`, `MODIFIED`); this is how it stands now. A watch that breaks goes on from
    /// the version.
    case updated(Object, resourceVersion: String)
    /// An object is gone, or no longer matches the selector (`DELETED`); this is how it stood last.
    case deleted(Object, resourceVersion: String)
    /// Nothing has changed up to this version (`BOOKMARK`). `endsInitialEvents` tells that the objects which were there
    /// when the watch began have all come, in a watch that asked for them (`sendInitialEvents`).
    case bookmark(resourceVersion: String, endsInitialEvents: Bool)
    /// The watch has failed (`ERROR`) and will end; with the code 410 its version is too old.
    case failed(KubernetesStatus)
}

extension WatchEvent: Equatable where Object: Equatable {}
