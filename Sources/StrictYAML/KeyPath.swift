// SPDX-License-Identifier: Apache-2.0

extension String {
    /// This path of keys with one more: `pods[2]` and `name` make `pods[2].name`.
    package func appending(key: String) -> String {
        isEmpty ? key : "\(self).\(key)"
    }
}
