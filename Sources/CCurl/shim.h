// SPDX-License-Identifier: Apache-2.0
// libcurl's option setters are variadic, which Swift cannot call: one function for each kind of argument.
#pragma once

// CURLOPT_PROTOCOLS is marked as deprecated since 7.85, what replaces it is missing in 7.81 (Ubuntu 22.04).
#define CURL_DISABLE_DEPRECATION
#include <curl/curl.h>

static inline CURLcode kubenetmon_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kubenetmon_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kubenetmon_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}

// libcurl keeps a copy of the bytes.
static inline CURLcode kubenetmon_curl_set_blob(CURL *handle, CURLoption option, const void *data, size_t length) {
    struct curl_blob blob = {.data = (void *)data, .len = length, .flags = CURL_BLOB_COPY};
    return curl_easy_setopt(handle, option, &blob);
}

typedef size_t (*kubenetmon_curl_data_function)(char *data, size_t size, size_t count, void *context);

static inline CURLcode kubenetmon_curl_set_data_function(
    CURL *handle, CURLoption option, kubenetmon_curl_data_function function) {
    return curl_easy_setopt(handle, option, function);
}

// Options that 7.81 has not: an older library is as it is.
static inline void kubenetmon_curl_set_recent_options(CURL *handle) {
#if LIBCURL_VERSION_NUM >= 0x075700
    // A cancelled request does not wait for a name server.
    curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
    // A rotated file of authorities counts from the next connection on, not from the next day on.
    curl_easy_setopt(handle, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#else
    (void)handle;
#endif
}

static inline CURLcode kubenetmon_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}

static inline CURLcode kubenetmon_curl_get_offset(CURL *handle, CURLINFO info, curl_off_t *value) {
    return curl_easy_getinfo(handle, info, value);
}

// How the one transfer of `multi` has ended; CURLE_OK also where it has not.
static inline CURLcode kubenetmon_curl_multi_result(CURLM *multi) {
    int queued;
    CURLMsg *message = curl_multi_info_read(multi, &queued);
    return message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_OK;
}
