<?php
declare(strict_types=1);

const LONGLINK_TIMEOUT = 3;
const ATTEMPTS = 3;
const LONGEST_WAIT = 2; // seconds; a caller who would have to wait longer is told so
const OLDEST_WEBHOOK = 300; // seconds

/** The backend's side of longlink: its HTTP interface and its webhooks. */
final class Longlink
{
    public function __construct(
        private readonly string $api,
        private readonly string $key,
        private readonly string $webhookSecret,
        private readonly PDO $database,
    ) {
        $database->exec('CREATE TABLE IF NOT EXISTS online (user TEXT PRIMARY KEY) WITHOUT ROWID');
        // The last event that was taken, and the last event that `online` knew of when longlink was asked.
        $database->exec('CREATE TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY, epoch TEXT, seq INTEGER, snapshot INTEGER)');
    }

    /**
     * Sends a message to a user. It waits for a user who is away. A call that is repeated with the same key sends it
     * only once, so that every caller, also this function, may try again.
     *
     * @return string `stored` or `queued`: every device of the user gets the message, now or later. `sent`: pages of
     *   the older protocol get it now. `offline`: nobody gets it.
     */
    public function push(string $user, mixed $message, string $key): string
    {
        $body = ['user' => $user, 'from' => 'orders', 'message' => $message, 'keep' => true, 'idempotencyKey' => $key];
        for ($attempt = 1; ; $attempt++) {
            try {
                $state = $this->ask('send', $body)['results'][0]['state'];
                if ($state !== 'busy') {
                    return $state;
                }
                $problem = new Problem(503, 'longlink_busy', 'The user has too many messages waiting.', 1);
            } catch (Problem $problem) {
            }
            if ($problem->status !== 503 || $attempt === ATTEMPTS || $problem->retryAfter > LONGEST_WAIT) {
                throw $problem;
            }
            sleep($problem->retryAfter);
        }
    }

    /** Posts to a route of longlink's interface, or gets it if there is no body. */
    private function ask(string $route, ?array $body = null): array
    {
        $headers = ["Authorization: Bearer $this->key", 'Content-Type: application/json'];
        $text = $body === null ? null : json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
        $answer = fetch("$this->api/api/$route", LONGLINK_TIMEOUT, $headers, $text);
        if (is_string($answer)) {
            // Nobody listens, the connection broke, no answer came in time, or a proxy answered with a page.
            error_log("longlink cannot be reached: $answer");
            throw new Problem(503, 'longlink_unreachable', 'longlink cannot be reached. Try again a little later.', 1);
        }
        [$status, $json, $answered] = $answer;
        if ($status === 200) {
            return $json;
        }
        $code = $json['error']['code'] ?? '';
        if ($status === 429 || $status >= 500) {
            $wait = max(1, (int) ($answered['retry-after'] ?? 1));
            throw new Problem(503, 'longlink_busy', "longlink cannot do this now: $code", $wait);
        }
        error_log("longlink refuses $route: $status $code: " . ($json['error']['message'] ?? ''));
        throw new Problem(502, 'longlink_refused', "longlink refuses this: $code");
    }

    /** Whether a webhook is signed with the secret, and was sent in the last five minutes. */
    public function isSigned(string $timestamp, string $signature, string $body): bool
    {
        $expected = 'v1=' . hash_hmac('sha256', "$timestamp.$body", $this->webhookSecret);
        return hash_equals($expected, $signature) && ctype_digit($timestamp)
            && abs(time() - (int) $timestamp) < OLDEST_WEBHOOK;
    }

    /** Takes the events of a webhook, one webhook after the other, in one transaction. */
    public function take(string $epoch, array $events): void
    {
        $this->database->exec('BEGIN IMMEDIATE');
        try {
            $this->takeAll($epoch, $events);
            $this->database->exec('COMMIT');
        } catch (Throwable $error) {
            $this->database->exec('ROLLBACK');
            throw $error;
        }
    }

    private function takeAll(string $epoch, array $events): void
    {
        $place = $this->database->query('SELECT epoch, seq, snapshot FROM place')->fetch(PDO::FETCH_NUM);
        [$known, $last, $snapshot] = $place ?: ['', 0, 0];
        foreach ($events as $event) {
            ['seq' => $seq, 'type' => $type] = $event;
            if ($epoch === $known && $seq <= $last) {
                continue; // longlink has sent this event again
            }
            if ($epoch !== $known || $seq !== $last + 1) {
                // Events are missing, or longlink was started again. If longlink does not answer, it gets an error,
                // and sends the same events again later.
                [$now, $snapshot] = $this->storeWhoIsOnline();
                if ($now !== $epoch) {
                    break; // events of a server that is gone
                }
                $known = $epoch;
            }
            $last = $seq;
            if ($type === 'online' && $seq > $snapshot) {
                $this->run('INSERT OR IGNORE INTO online VALUES (?)', $event['user']);
            } elseif ($type === 'offline' && $seq > $snapshot) {
                $this->run('DELETE FROM online WHERE user = ?', $event['user']);
            } elseif ($type === 'undelivered') {
                // This is the moment for a subscription message of WeChat, which reaches a user who is not in the
                // mini-program.
                error_log("undelivered: a message to {$event['toUserId']}");
            }
        }
        $this->run('INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?)', $known, $last, $snapshot);
    }

    /**
     * Asks who is online, and which event is the last one that the answer includes.
     *
     * @return array{0: string, 1: int}
     */
    private function storeWhoIsOnline(): array
    {
        $first = $page = $this->ask('online');
        $users = $first['users'];
        while ($page['next'] !== null) {
            $page = $this->ask('online?after=' . rawurlencode($page['next']));
            if ($page['epoch'] !== $first['epoch']) {
                throw new Problem(503, 'longlink_busy', 'longlink was started again.', 1);
            }
            array_push($users, ...$page['users']);
        }
        $this->run('DELETE FROM online');
        foreach ($users as $user) {
            $this->run('INSERT OR IGNORE INTO online VALUES (?)', $user);
        }
        return [$first['epoch'], $first['seq']];
    }

    private function run(string $sql, string|int ...$values): void
    {
        $statement = $this->database->prepare($sql);
        foreach ($values as $at => $value) {
            $statement->bindValue($at + 1, $value, is_int($value) ? PDO::PARAM_INT : PDO::PARAM_STR);
        }
        $statement->execute();
    }

    /** @return string[] the users who are online, in the order of their ids */
    public function online(): array
    {
        return $this->database->query('SELECT user FROM online ORDER BY user')->fetchAll(PDO::FETCH_COLUMN);
    }
}
