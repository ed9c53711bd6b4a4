// SPDX-License-Identifier: Apache-2.0

public import Foundation
import Glibc
import Synchronization

/// A program that a test runs beside itself. It is killed with the object, at the latest.
public final class ChildProcess: Sendable {
    private let process: Mutex<Process>
    /// What the program has written, standard output and standard error together.
    private let log: URL

    /// Starts a program. Its output goes to a file of its own.
    public init(_ program: URL, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        log = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString).log")
        guard FileManager.default.createFile(atPath: log.path, contents: nil) else {
            throw TestEnvironmentError("cannot make \(log.path)")
        }
        let handle = try FileHandle(forWritingTo: log)
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        // Foundation keeps a process, and what was opened for it, beyond the last reference to it.
        try handle.close()
        self.process = Mutex(process)
    }

    deinit {
        signal(SIGKILL)
        try? FileManager.default.removeItem(at: log)
    }

    /// What the program has written so far.
    public var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    /// The program's process number.
    public var processIdentifier: Int32 { process.withLock { $0.processIdentifier } }

    /// Whether the program has not ended yet.
    public var isRunning: Bool { process.withLock { $0.isRunning } }

    /// Sends a signal where the program has not ended yet.
    public func signal(_ number: Int32) {
        process.withLock { if $0.isRunning { kill($0.processIdentifier, number) } }
    }

    /// Waits for the program's end and returns its exit code, 128 and the signal where one ended it.
    public func wait() async throws -> Int32 {
        try await eventually("\(process.withLock { $0.executableURL?.lastPathComponent ?? "" }) ends") {
            !self.isRunning
        }
        return process.withLock {
            $0.terminationReason == .uncaughtSignal ? 128 + $0.terminationStatus : $0.terminationStatus
        }
    }

    /// Runs a program to its end and returns its output. Throws where it does not exit with 0.
    @discardableResult
    public static func run(
        _ program: URL, _ arguments: [String] = [], environment: [String: String] = [:]
    ) async throws -> String {
        let child = try ChildProcess(program, arguments, environment: environment)
        let code = try await child.wait()
        guard code == 0 else {
            throw TestEnvironmentError(
                "\(program.lastPathComponent) \(arguments.joined(separator: " ")) exited with \(code): \(child.output)")
        }
        return child.output
    }

    /// Runs a command line of `sh` to its end and returns its output. Throws where it does not exit with 0.
    @discardableResult
    public static func shell(_ command: String) async throws -> String {
        try await run(URL(filePath: "/bin/sh"), ["-euc", command])
    }
}

/// Waits until a condition holds, looking every few milliseconds. Throws where it does not within five minutes, which is
/// the bound of a hang: a test that says how fast something is fails on a busy machine.
public func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    // What a busy machine keeps from the test does not count: between two looks no more than a tenth of a second passes.
    var left = Duration.seconds(300)
    var last = ContinuousClock.now
    while try await !condition() {
        guard left > .zero else { throw TestEnvironmentError("it did not come to pass that \(what)") }
        try await Task.sleep(for: .milliseconds(10))
        left -= min(.now - last, .milliseconds(100))
        last = .now
    }
}
