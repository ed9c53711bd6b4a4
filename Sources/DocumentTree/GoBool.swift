// SPDX-License-Identifier: Apache-2.0

extension Bool {
    /// Parses a Boolean as Go's `strconv.ParseBool` does: `1 t T TRUE true True` and `0 f F FALSE false False`.
    public init?(goBool text: String) {
        switch text {
        case "1", "t", "T", "TRUE", "true", "True": self = true
        case "0", "f", "F", "FALSE", "false", "False": self = false
        default: return nil
        }
    }
}
