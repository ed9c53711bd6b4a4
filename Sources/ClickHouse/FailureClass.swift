// SPDX-License-Identifier: Apache-2.0

/// The kind of a failed insert, by what can fix it. It decides how the batch is handled.
public enum FailureClass: String, CaseIterable, Sendable {
    /// Time or another endpoint can fix it: the batch is retried without limit.
    case transient
    /// An operator of ClickHouse or of this server can fix it: the batch is kept, the server is not ready, and retries
    /// are slow.
    case `operator`
    /// Nothing can fix it: ClickHouse rejects these bytes. A body that is too large is sent in halves; one that is
    /// rejected twice in the same way is counted as lost.
    case content
    /// The owner of a materialized view can fix it: the view is broken or rejects the batch. The table may have the
    /// rows.
    case view
}

extension ClickHouseError {
    /// The class of the failure.
    var failureClass: FailureClass {
        switch self {
        case .unreachable(_, let error):
            switch error.kind {
            case .tls, .badRequest, .responseTooLarge, .redirect: .operator
            case .connection, .timeout, .cancelled: .transient
            }
        case .exception(let code, _): Self.failureClass(ofException: code)
        case .failingView(_, let code, _): Self.passingCodes.contains(code) ? .transient : .view
        case .unexpectedAnswer(_, Self.tooLargeStatus, _, _): .content
        case .unexpectedAnswer(_, let status, _, _):
            (400..<500).contains(status) && status != 408 && status != 429 ? .operator : .transient
        case .missingTable, .missingColumns, .unreadableCredentials: .operator
        }
    }

    /// Returns the class of an exception. A code that is in no list counts as transient, so that its rows are kept.
    private static func failureClass(ofException code: Int) -> FailureClass {
        if operatorCodes.contains(code) { return .operator }
        return contentCodes.contains(code) ? .content : .transient
    }

    package static let unknownFunction = 46
    package static let unknownTable = 60
    static let unknownDatabase = 81
    static let timeoutExceeded = 159
    static let memoryLimitExceeded = 241
    static let tooManyParts = 252
    package static let accessDenied = 497
    /// The status of proxies that reject a body for its size (RFC 9110, section 15.5.14).
    static let tooLargeStatus = 413

    /// The codes of src/Common/ErrorCodes.cpp that need an operator: something is missing or not allowed.
    private static let operatorCodes: Set<Int> = [
        10,  // NOT_FOUND_COLUMN_IN_BLOCK
        16,  // NO_SUCH_COLUMN_IN_TABLE
        47,  // UNKNOWN_IDENTIFIER
        48,  // NOT_IMPLEMENTED, such as a compression that an old release does not know
        unknownTable,
        62,  // SYNTAX_ERROR
        73,  // UNKNOWN_FORMAT
        unknownDatabase,
        89,  // UNKNOWN_COMPRESSION_METHOD
        115,  // UNKNOWN_SETTING
        164,  // READONLY: the user's profile, not the table's state
        192,  // UNKNOWN_USER
        193,  // WRONG_PASSWORD
        194,  // REQUIRED_PASSWORD
        195,  // IP_ADDRESS_NOT_ALLOWED
        201,  // QUOTA_EXCEEDED
        291,  // DATABASE_ACCESS_DENIED
        344,  // SUPPORT_IS_DISABLED
        452,  // SETTING_CONSTRAINT_VIOLATION
        471,  // INVALID_SETTING_VALUE
        472,  // READONLY_SETTING
        accessDenied,
        516,  // AUTHENTICATION_FAILED
        774,  // TABLE_IS_PERMANENTLY_READ_ONLY
    ]

    /// The codes of failures of materialized views that pass by themselves. A view can fail with any other code for
    /// every batch and for ever, so a code that is not in this list is attributed to the view.
    private static let passingCodes: Set<Int> = [
        95,  // CANNOT_READ_FROM_SOCKET
        96,  // CANNOT_WRITE_TO_SOCKET
        timeoutExceeded,
        160,  // TOO_SLOW
        173,  // CANNOT_ALLOCATE_MEMORY
        202,  // TOO_MANY_SIMULTANEOUS_QUERIES
        203,  // NO_FREE_CONNECTION
        209,  // SOCKET_TIMEOUT
        210,  // NETWORK_ERROR
        225,  // NO_ZOOKEEPER
        236,  // ABORTED
        memoryLimitExceeded,
        242,  // TABLE_IS_READ_ONLY
        243,  // NOT_ENOUGH_SPACE
        tooManyParts,
        254,  // NO_ACTIVE_REPLICAS
        279,  // ALL_CONNECTION_TRIES_FAILED
        285,  // TOO_FEW_LIVE_REPLICAS
        286,  // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        297,  // SHARD_HAS_NO_CONNECTIONS
        319,  // UNKNOWN_STATUS_OF_INSERT
        364,  // RECEIVED_ERROR_TOO_MANY_REQUESTS
        394,  // QUERY_WAS_CANCELLED
        439,  // CANNOT_SCHEDULE_TASK
        473,  // DEADLOCK_AVOIDED
        499,  // S3_ERROR
        500,  // AZURE_BLOB_STORAGE_ERROR
        574,  // DISTRIBUTED_TOO_MANY_PENDING_BYTES
        745,  // SERVER_OVERLOADED
        749,  // TCP_CONNECTION_LIMIT_REACHED
        762,  // HTTP_CONNECTION_LIMIT_REACHED
        777,  // MEMORY_RESERVATION_KILLED
        778,  // MEMORY_RESERVATION_FAILED
        999,  // KEEPER_EXCEPTION
    ]

    /// The codes caused by the bytes that were sent. All others, among them TOO_MANY_SIMULTANEOUS_QUERIES 202,
    /// TABLE_IS_READ_ONLY 242, NOT_ENOUGH_SPACE 243, UNKNOWN_STATUS_OF_INSERT 319 and KEEPER_EXCEPTION 999, pass by
    /// themselves or may do so.
    private static let contentCodes: Set<Int> = [
        6,  // CANNOT_PARSE_TEXT
        7,  // INCORRECT_NUMBER_OF_COLUMNS
        9,  // SIZES_OF_COLUMNS_DOESNT_MATCH
        20,  // NUMBER_OF_COLUMNS_DOESNT_MATCH
        25,  // CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  // CANNOT_PARSE_QUOTED_STRING
        27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  // ATTEMPT_TO_READ_AFTER_EOF
        33,  // CANNOT_READ_ALL_DATA
        38,  // CANNOT_PARSE_DATE
        39,  // TOO_LARGE_SIZE_COMPRESSED
        40,  // CHECKSUM_DOESNT_MATCH
        41,  // CANNOT_PARSE_DATETIME
        43,  // ILLEGAL_TYPE_OF_ARGUMENT
        44,  // ILLEGAL_COLUMN
        50,  // UNKNOWN_TYPE
        53,  // TYPE_MISMATCH
        69,  // ARGUMENT_OUT_OF_BOUND
        70,  // CANNOT_CONVERT_TYPE
        72,  // CANNOT_PARSE_NUMBER
        117,  // INCORRECT_DATA
        122,  // INCOMPATIBLE_COLUMNS
        128,  // TOO_LARGE_ARRAY_SIZE
        131,  // TOO_LARGE_STRING_SIZE
        158,  // TOO_MANY_ROWS
        190,  // SIZES_OF_ARRAYS_DONT_MATCH
        271,  // CANNOT_DECOMPRESS
        307,  // TOO_MANY_BYTES
        321,  // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        396,  // TOO_MANY_ROWS_OR_BYTES
        441,  // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
        467,  // CANNOT_PARSE_BOOL
        469,  // VIOLATED_CONSTRAINT
        561,  // ZSTD_DECODER_FAILED
        565,  // TOO_MANY_PARTITIONS
        618,  // LZ4_DECODER_FAILED
        632,  // UNEXPECTED_DATA_AFTER_PARSED_VALUE
        675,  // CANNOT_PARSE_IPV4
        676,  // CANNOT_PARSE_IPV6
        691,  // UNKNOWN_ELEMENT_OF_ENUM
        728,  // UNEXPECTED_DATA_TYPE
    ]
}
