// SPDX-License-Identifier: Apache-2.0

/// A change of one object, reported by a watch.
public enum ObjectChange<Object: Sendable>: Sendable {
    /// The object is new or has changed; its present state.
    case updated(Object)
    /// The object is deleted or no longer matches the selector; its last state.
    case deleted(Object)
}

/// The store that a reflector keeps up to date. One reflector calls it, from one thread.
public protocol ObjectStore<Object>: Sendable {
    /// The type of the stored objects.
    associatedtype Object: Sendable

    /// Begins a new set of all objects; the present one stays in use until the commit.
    func beginReplacement()
    /// Adds an object to the new set.
    func add(_ object: Object)
    /// Replaces the present set by the new one, atomically for all readers; objects missing from the new set are gone.
    func commitReplacement()
    /// Discards the new set after an incomplete list.
    func abandonReplacement()
    /// Applies changes in their order; an empty array when the server confirms that nothing has changed.
    func apply(_ changes: [ObjectChange<Object>])
}
