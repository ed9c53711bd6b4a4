// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The limit on the files and connections that this process may have open (RLIMIT_NOFILE in getrlimit(2)).
public enum FileDescriptorLimit {
    /// Raises the soft limit to the hard limit. The soft limit is 1,024 on many hosts, for programs that call
    /// select(2); nothing here does.
    ///
    /// - Returns: The limit now in force; 0 if it cannot be read.
    @discardableResult
    public static func raise() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return 0 }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        return Int(clamping: setrlimit(resource, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur)
    }
}
