// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Reads an object's addresses. One that cannot be read, such as `fe80::1%eth0`, costs no more than itself, and is counted.
struct AddressReader {
    private(set) var addresses: [IPAddress] = []
    private(set) var unreadable = 0

    mutating func read(_ text: UnsafePointer<CChar>?) {
        guard let text, text.pointee != 0 else { return }
        if let address = String(validatingCString: text).flatMap(IPAddress.init) {
            addresses.append(address)
        } else {
            unreadable += 1
        }
    }
}
