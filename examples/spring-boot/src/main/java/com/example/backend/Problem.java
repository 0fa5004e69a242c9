package com.example.backend;

import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.http.HttpHeaders;
import org.springframework.http.ResponseEntity;
import org.springframework.http.converter.HttpMessageNotReadableException;
import org.springframework.web.ErrorResponse;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/** An error that the caller of this backend is told. */
class Problem extends RuntimeException {
  final int status;
  final String code;
  /** After how many seconds the caller may try again; 0: a repetition does not help. */
  final int retryAfter;

  Problem(int status, String code, String message) {
    this(status, code, message, 0);
  }

  Problem(int status, String code, String message, int retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Answers requests that have failed. */
  @RestControllerAdvice
  static class Answers {
    private static final Logger LOG = LoggerFactory.getLogger(Problem.class);

    @ExceptionHandler
    ResponseEntity<Object> tell(Exception error) {
      Problem problem;
      if (error instanceof Problem it) {
        problem = it;
      } else if (error instanceof HttpMessageNotReadableException) {
        problem = new Problem(400, "bad_request", "The body is not JSON.");
      } else if (error instanceof ErrorResponse it && it.getStatusCode().is4xxClientError()) {
        int status = it.getStatusCode().value();
        problem = new Problem(status, status == 404 ? "no_such_path" : "bad_request", error.getMessage());
      } else {
        LOG.error("A request has failed.", error);
        problem = new Problem(500, "internal", "Something went wrong. The log says what.");
      }
      var answer = ResponseEntity.status(problem.status);
      if (problem.retryAfter > 0) {
        answer.header(HttpHeaders.RETRY_AFTER, String.valueOf(problem.retryAfter));
      }
      return answer.body(Map.of("error", Map.of("code", problem.code, "message", problem.getMessage())));
    }
  }
}
