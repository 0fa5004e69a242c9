<?php
declare(strict_types=1);

const WECHAT_TIMEOUT = 5;

/** What the errors of code2session mean for the mini-program. */
const WECHAT_ERRORS = [
    40029 => [401, 'wrong_code', 'WeChat does not know this code. Call wx.login again.'],
    40163 => [401, 'wrong_code', 'This code was used before. Call wx.login again.'],
    40226 => [403, 'blocked', 'WeChat has blocked this user as a risk.'],
    45011 => [429, 'too_many_logins', 'This user has logged in too often.', 60],
    -1 => [503, 'wechat_busy', 'WeChat is busy. Call wx.login again a little later.', 2],
];

/**
 * Returns the openid of the user to whom a code of wx.login belongs. WeChat answers 200 for errors, too, and calls
 * its JSON text/plain. The session_key in the answer stays in the backend.
 */
function openid_of(string $code, string $wechat, string $appid, string $appsecret): string
{
    $query = http_build_query([
        'appid' => $appid, 'secret' => $appsecret, 'js_code' => $code, 'grant_type' => 'authorization_code',
    ]);
    $answer = fetch("$wechat/sns/jscode2session?$query", WECHAT_TIMEOUT);
    if (is_string($answer)) {
        error_log("WeChat cannot be reached: $answer");
        throw new Problem(503, 'wechat_unreachable', 'WeChat cannot be reached. Call wx.login again a little later.', 2);
    }
    [, $session] = $answer;
    if (!empty($session['openid'])) {
        return $session['openid'];
    }
    $errcode = (int) ($session['errcode'] ?? 0);
    if (isset(WECHAT_ERRORS[$errcode])) {
        throw new Problem(...WECHAT_ERRORS[$errcode]);
    }
    // For example 40013 and 40125: the AppID or the AppSecret is wrong. Only you can correct this.
    error_log("WeChat refuses this backend: $errcode " . ($session['errmsg'] ?? ''));
    throw new Problem(502, 'wechat_refused', 'WeChat refuses this backend. Its log says why.');
}
