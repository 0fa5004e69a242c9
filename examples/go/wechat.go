package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const wechatTimeout = 5 * time.Second

// wechatErrors says what the errors of code2session mean for the mini-program.
var wechatErrors = map[string]*Problem{
	"40029": {http.StatusUnauthorized, "wrong_code", "WeChat does not know this code. Call wx.login again.", 0},
	"40163": {http.StatusUnauthorized, "wrong_code", "This code was used before. Call wx.login again.", 0},
	"40226": {http.StatusForbidden, "blocked", "WeChat has blocked this user as a risk.", 0},
	"45011": {http.StatusTooManyRequests, "too_many_logins", "This user has logged in too often.", 60},
	"-1":    {http.StatusServiceUnavailable, "wechat_busy", "WeChat is busy. Call wx.login again a little later.", 2},
}

// WeChat asks WeChat's server.
type WeChat struct {
	Server, AppID, AppSecret string
}

// Openid returns the openid of the user to whom a code of wx.login belongs. WeChat answers 200 for errors, too,
// and calls its JSON text/plain. The session_key in the answer stays in the backend.
func (w WeChat) Openid(ctx context.Context, code string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wechatTimeout)
	defer cancel()
	query := url.Values{
		"appid": {w.AppID}, "secret": {w.AppSecret}, "js_code": {code}, "grant_type": {"authorization_code"},
	}
	var session struct {
		Openid  string          `json:"openid"`
		Errcode json.RawMessage `json:"errcode"` // a number, and in some of WeChat's answers a text
		Errmsg  string          `json:"errmsg"`
	}
	if err := w.get(ctx, "/sns/jscode2session?"+query.Encode(), &session); err != nil {
		log.Printf("WeChat cannot be reached: %v", err)
		return "", &Problem{http.StatusServiceUnavailable, "wechat_unreachable",
			"WeChat cannot be reached. Call wx.login again a little later.", 2}
	}
	if session.Openid != "" {
		return session.Openid, nil
	}
	errcode := strings.Trim(string(session.Errcode), `"`)
	if problem, ok := wechatErrors[errcode]; ok {
		return "", problem
	}
	// For example 40013 and 40125: the AppID or the AppSecret is wrong. Only you can correct this.
	log.Printf("WeChat refuses this backend: %s %s", errcode, session.Errmsg)
	return "", &Problem{http.StatusBadGateway, "wechat_refused", "WeChat refuses this backend. Its log says why.", 0}
}

func (w WeChat) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Server+path, nil)
	if err != nil {
		return fmt.Errorf("the address of WeChat is wrong: %s", w.Server)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		// The error contains the URL with the AppSecret; what is wrapped in it does not.
		if inner, ok := err.(*url.Error); ok {
			err = inner.Err
		}
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
