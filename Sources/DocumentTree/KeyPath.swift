// SPDX-License-Identifier: Apache-2.0

extension String {
    /// Returns this path of keys with another key appended: `pods[2]` and `name` make `pods[2].name`.
    package func appending(key: String) -> String {
        isEmpty ? key : "\(self).\(key)"
    }
}
