// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
import Operations

/// Resource usage of this process, from the kernel (getrusage(2), proc_pid_stat(5)).
struct ProcessStatistics: Sendable {
    /// CPU time in user and kernel mode, in seconds.
    var cpuSeconds: Double
    /// Resident memory, in bytes.
    var residentBytes: Int
    /// Address space, in bytes.
    var virtualBytes: Int
    /// The number of open file descriptors.
    var openDescriptors: Int
    /// The limit on open file descriptors.
    var maximumDescriptors: Int

    /// The time at which the process started, in seconds since the Unix epoch.
    static let startTime: Double = {
        let now = WallClock.now()
        var sinceBoot = timespec()
        clock_gettime(CLOCK_BOOTTIME, &sinceBoot)
        let ticks = statFields()[19]
        return now.seconds - Double(sinceBoot.tv_sec) - Double(sinceBoot.tv_nsec) / 1e9
            + Double(ticks) / Double(sysconf(CInt(_SC_CLK_TCK)))
    }()

    /// Reads the current values from the kernel.
    init() {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        cpuSeconds =
            Double(usage.ru_utime.tv_sec) + Double(usage.ru_stime.tv_sec)
            + (Double(usage.ru_utime.tv_usec) + Double(usage.ru_stime.tv_usec)) / 1e6
        let fields = Self.statFields()
        virtualBytes = fields[20]
        residentBytes = fields[21] &* sysconf(CInt(_SC_PAGESIZE))
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        maximumDescriptors = Int(clamping: limit.rlim_cur)
        openDescriptors = Self.countDescriptors()
    }

    /// Returns the fields of `/proc/self/stat` from the process's state on. The state is not a number and reads as 0.
    private static func statFields() -> [Int] {
        let none = [Int](repeating: 0, count: 22)
        guard let file = fopen("/proc/self/stat", "r") else { return none }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 1024)
        guard fgets(&line, CInt(line.count), file) != nil else { return none }
        let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        // The program's name is in parentheses and may itself contain some.
        guard let end = text.lastIndex(of: ")") else { return none }
        let fields = text[end...].dropFirst().split(separator: " ").map { Int($0) ?? 0 }
        return fields.count >= none.count ? fields : none
    }

    private static func countDescriptors() -> Int {
        guard let directory = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(directory) }
        // Not counted: the open directory itself, `.` and `..`.
        var count = -3
        while readdir(directory) != nil { count += 1 }
        return max(0, count)
    }
}

extension MetricsPage {
    /// Adds the metrics that every daemon has: its release, and the process metrics of Prometheus' client libraries.
    mutating func add(_ process: ProcessStatistics) {
        add(
            .gauge, "kubenetmon_build_info", "Always 1; the label is the release.", label: "version",
            [(Daemon.version, 1)])
        add(
            .counter, "process_cpu_seconds_total", "User and system CPU time of the process.",
            process.cpuSeconds)
        add(.gauge, "process_resident_memory_bytes", "Resident memory of the process.", process.residentBytes)
        add(.gauge, "process_virtual_memory_bytes", "Address space of the process.", process.virtualBytes)
        add(.gauge, "process_open_fds", "Open file descriptors.", process.openDescriptors)
        add(.gauge, "process_max_fds", "Limit on open file descriptors.", process.maximumDescriptors)
        add(
            .gauge, "process_start_time_seconds", "Start time of the process, in seconds since the Unix epoch.",
            ProcessStatistics.startTime)
    }
}
