// SPDX-License-Identifier: Apache-2.0

/// A change of one object that a watch tells of.
public enum ObjectChange<Object: Sendable>: Sendable {
    /// It is new or has changed; this is how it stands now.
    case updated(Object)
    /// It is gone, or no longer matches the selector; this is how it stood last.
    case deleted(Object)
}

/// What a reflector keeps up to date. One reflector calls it from one thread.
public protocol ObjectStore<Object>: Sendable {
    /// What is kept.
    associatedtype Object: Sendable

    /// Begins a new set of all objects; the present one stays in use until the end.
    func beginReplacement()
    /// Adds an object to the new set.
    func add(_ object: Object)
    /// Puts the new set in the place of the present one, at once for all who read: objects that are not in it are gone.
    func commitReplacement()
    /// Forgets the new set: the list broke off.
    func abandonReplacement()
    /// Applies changes in their order; none where the server has said that there are none.
    func apply(_ changes: [ObjectChange<Object>])
}
