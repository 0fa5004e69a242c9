"""Asks WeChat which user a code of wx.login belongs to."""

import logging

import requests

from problem import Problem

TIMEOUT = 5

# What the errors of code2session mean for the mini-program.
ERRORS = {
    40029: (401, "wrong_code", "WeChat does not know this code. Call wx.login again."),
    40163: (401, "wrong_code", "This code was used before. Call wx.login again."),
    40226: (403, "blocked", "WeChat has blocked this user as a risk."),
    45011: (429, "too_many_logins", "This user has logged in too often.", 60),
    -1: (503, "wechat_busy", "WeChat is busy. Call wx.login again a little later.", 2),
}


def openid_of(code: str, wechat: str, appid: str, appsecret: str) -> str:
    """Returns the openid of the user.

    WeChat answers 200 for errors, too. The session_key in the answer stays in the backend.
    """
    try:
        answer = requests.get(f"{wechat}/sns/jscode2session", timeout=TIMEOUT, params={
            "appid": appid, "secret": appsecret, "js_code": code, "grant_type": "authorization_code"})
        session = answer.json()
    except requests.RequestException as error:
        # The error's text is not logged, because it contains the URL with the AppSecret.
        logging.error("WeChat cannot be reached: %s", type(error).__name__)
        raise Problem(503, "wechat_unreachable", "WeChat cannot be reached. Call wx.login again a little later.", 2) from None
    if openid := session.get("openid"):
        return openid
    errcode = int(session.get("errcode", 0))
    if errcode in ERRORS:
        raise Problem(*ERRORS[errcode])
    # For example 40013 and 40125: the AppID or the AppSecret is wrong. Only you can correct this.
    logging.error("WeChat refuses this backend: %s %s", errcode, session.get("errmsg"))
    raise Problem(502, "wechat_refused", "WeChat refuses this backend. Its log says why.")
