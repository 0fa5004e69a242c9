<?php
declare(strict_types=1);

/** An error that the caller of this backend is told: a status, a code for programs, a text for people. */
final class Problem extends Exception
{
    public function __construct(
        public readonly int $status,
        public readonly string $error,
        string $text,
        /** After how many seconds the caller may try again; 0: a repetition does not help. */
        public readonly int $retryAfter = 0,
    ) {
        parent::__construct($text);
    }
}

/**
 * Makes a request with curl. A program that has no curl extension cannot use this backend.
 *
 * @param string[] $headers
 * @return array{0: int, 1: mixed, 2: array<string, string>}|string the status, the JSON and the headers in lower case, or what went wrong
 */
function fetch(string $url, int $timeout, array $headers = [], ?string $body = null): array|string
{
    $answered = [];
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => $timeout,
        CURLOPT_NOSIGNAL => true,
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$answered): int {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $answered[strtolower($name)] = trim($value);
            return strlen($line);
        },
    ] + ($body === null ? [] : [CURLOPT_POSTFIELDS => $body]));
    $text = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($text === false) {
        return 'curl error ' . curl_errno($curl); // the text of the error may contain the URL
    }
    $json = json_decode($text, true);
    return is_array($json) ? [$status, $json, $answered] : "status $status without JSON";
}
