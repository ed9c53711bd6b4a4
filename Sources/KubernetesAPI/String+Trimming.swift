// SPDX-License-Identifier: Apache-2.0

extension String {
    /// Returns the text without surrounding white space: files end with a line break.
    func trimmingWhitespace() -> String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
