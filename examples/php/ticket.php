<?php
declare(strict_types=1);

function base64url(string $bytes): string
{
    return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
}

/** Signs a ticket of longlink, which is a JSON Web Token with HS256. `expires` is in seconds since 1970. */
function sign_ticket(string $user, int $expires, string $secret): string
{
    $head = base64url('{"alg":"HS256","typ":"JWT"}');
    $claims = base64url(json_encode(['sub' => $user, 'exp' => $expires], JSON_THROW_ON_ERROR));
    return "$head.$claims." . base64url(hash_hmac('sha256', "$head.$claims", $secret, true));
}

/** Returns the user of a ticket, or null if it was not signed here or has expired. */
function user_of_ticket(string $ticket, string $secret): ?string
{
    $parts = explode('.', $ticket);
    if (count($parts) !== 3) {
        return null;
    }
    [$head, $claims, $signature] = $parts;
    // The algorithm is always HS256, whatever the head says.
    $expected = base64url(hash_hmac('sha256', "$head.$claims", $secret, true));
    if (!hash_equals($expected, $signature)) {
        return null;
    }
    $said = json_decode(base64_decode(strtr($claims, '-_', '+/')), true);
    $isGood = is_string($said['sub'] ?? null) && is_int($said['exp'] ?? null) && $said['exp'] > time();
    return $isGood ? $said['sub'] : null;
}
