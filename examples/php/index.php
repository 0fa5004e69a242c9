<?php
declare(strict_types=1);
// The backend of a mini-program that uses longlink: login, tickets, orders that are pushed, webhooks.

require __DIR__ . '/problem.php';
require __DIR__ . '/ticket.php';
require __DIR__ . '/wechat.php';
require __DIR__ . '/longlink.php';

const NEEDED = ['APPID', 'APPSECRET', 'LONGLINK_API', 'LONGLINK_KEY', 'TICKET_SECRET', 'WEBHOOK_SECRET', 'SHOP_KEY', 'DATABASE'];
const TICKET_SECONDS = 7200;
const STATUSES = ['placed', 'making', 'ready'];

final class Backend
{
    private readonly PDO $database;
    private readonly Longlink $longlink;

    /** @param array<string, string> $env */
    public function __construct(private readonly array $env)
    {
        $missing = array_filter(NEEDED, fn (string $name): bool => ($env[$name] ?? '') === '');
        if ($missing) {
            throw new RuntimeException('These environment variables are missing: ' . implode(', ', $missing));
        }
        // Each request is a process of its own, so what is known between requests is in a database.
        $this->database = new PDO("sqlite:{$env['DATABASE']}", options: [PDO::ATTR_TIMEOUT => 10]);
        $this->database->exec('PRAGMA journal_mode = WAL'); // reading does not wait for writing
        $this->database->exec('CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, user TEXT, status TEXT)');
        $this->longlink = new Longlink($env['LONGLINK_API'], $env['LONGLINK_KEY'], $env['WEBHOOK_SECRET'], $this->database);
    }

    /** @return array{0: int, 1?: mixed} the status and the JSON of the answer */
    public function answer(string $method, string $path): array
    {
        if ($method === 'POST' && preg_match('#^/orders/([^/]+)/status$#', $path, $match)) {
            return $this->setStatus(rawurldecode($match[1]));
        }
        return match ("$method $path") {
            'POST /login' => $this->login(),
            'POST /orders' => $this->placeOrder(),
            'GET /orders' => $this->listOrders(),
            'GET /online' => $this->online(),
            'POST /longlink' => $this->webhook(),
            default => throw new Problem(404, 'no_such_path', "There is no $method $path."),
        };
    }

    private function login(): array
    {
        $code = $this->body()['code'] ?? null;
        if (!is_string($code) || $code === '') {
            throw new Problem(400, 'no_code', 'The request needs the code of wx.login.');
        }
        // An id of your own, found by the openid in your database, is better: other users see the id.
        $wechat = ($this->env['WECHAT'] ?? '') ?: 'https://api.weixin.qq.com';
        $user = openid_of($code, $wechat, $this->env['APPID'], $this->env['APPSECRET']);
        $expires = time() + TICKET_SECONDS;
        $ticket = sign_ticket($user, $expires, $this->env['TICKET_SECRET']);
        return [200, ['user' => $user, 'ticket' => $ticket, 'expires' => $expires]];
    }

    private function placeOrder(): array
    {
        $user = $this->userOfTicket();
        $id = bin2hex(random_bytes(16));
        $this->database->prepare("INSERT INTO orders VALUES (?, ?, 'placed')")->execute([$id, $user]);
        return [201, ['order' => ['id' => $id, 'status' => 'placed']]];
    }

    private function listOrders(): array
    {
        $found = $this->database->prepare('SELECT id, status FROM orders WHERE user = ? ORDER BY rowid');
        $found->execute([$this->userOfTicket()]);
        return [200, ['orders' => $found->fetchAll(PDO::FETCH_ASSOC)]];
    }

    /**
     * Your own programs call this, perhaps twice. The order is stored first and pushed then: after an error the caller
     * tries again, and the page reads the order when it opens.
     */
    private function setStatus(string $id): array
    {
        if (!hash_equals($this->env['SHOP_KEY'], $this->bearer())) {
            throw new Problem(401, 'no_key', 'The request needs the key of the shop.');
        }
        $found = $this->database->prepare('SELECT user, status FROM orders WHERE id = ?');
        $found->execute([$id]);
        $order = $found->fetch(PDO::FETCH_ASSOC) ?: throw new Problem(404, 'no_order', 'There is no such order.');
        $status = $this->body()['status'] ?? null;
        $after = array_search($status, STATUSES, true);
        if (!$after) {
            throw new Problem(400, 'bad_status', 'The status is making or ready.');
        }
        if ($after < array_search($order['status'], STATUSES, true)) {
            throw new Problem(409, 'status_went_back', "The order is {$order['status']}.");
        }
        $this->database->prepare('UPDATE orders SET status = ? WHERE id = ?')->execute([$status, $id]);
        $shown = ['id' => $id, 'status' => $status];
        $push = $this->longlink->push($order['user'], ['order' => $shown], "order-$id-$status");
        return [200, ['order' => $shown, 'push' => $push]];
    }

    private function online(): array
    {
        $this->userOfTicket();
        return [200, ['users' => $this->longlink->online()]];
    }

    private function webhook(): array
    {
        $body = file_get_contents('php://input'); // the bytes as they arrived, because these are signed
        $timestamp = $_SERVER['HTTP_LONGLINK_TIMESTAMP'] ?? '';
        if (!$this->longlink->isSigned($timestamp, $_SERVER['HTTP_LONGLINK_SIGNATURE'] ?? '', $body)) {
            throw new Problem(401, 'bad_signature', 'The request is not signed by longlink, or is too old.');
        }
        ['epoch' => $epoch, 'events' => $events] = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        $this->longlink->take($epoch, $events);
        return [204];
    }

    private function userOfTicket(): string
    {
        return user_of_ticket($this->bearer(), $this->env['TICKET_SECRET'])
            ?? throw new Problem(401, 'no_ticket', 'The request needs a valid ticket. Log in again.');
    }

    private function bearer(): string
    {
        // With Apache the line `CGIPassAuth On` makes this header visible.
        $header = $_SERVER['HTTP_AUTHORIZATION'] ?? '';
        return str_starts_with($header, 'Bearer ') ? substr($header, 7) : '';
    }

    private function body(): array
    {
        try {
            $json = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
        } catch (JsonException) {
            throw new Problem(400, 'bad_request', 'The body is not JSON.');
        }
        return is_array($json) ? $json : [];
    }
}

try {
    $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/';
    [$status, $json] = (new Backend(getenv()))->answer($_SERVER['REQUEST_METHOD'], $path) + [1 => null];
} catch (Problem $problem) {
    [$status, $json] = [$problem->status, ['error' => ['code' => $problem->error, 'message' => $problem->getMessage()]]];
    if ($problem->retryAfter) {
        header("Retry-After: $problem->retryAfter");
    }
} catch (Throwable $error) {
    error_log((string) $error);
    [$status, $json] = [500, ['error' => ['code' => 'internal', 'message' => 'Something went wrong. The log says what.']]];
}
http_response_code($status);
if ($json !== null) {
    header('Content-Type: application/json');
    echo json_encode($json, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}
