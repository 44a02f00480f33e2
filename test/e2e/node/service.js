// A service for the end-to-end tests, instrumented by nothing but `--require @opentelemetry/auto-instrumentations-node/register`.
// With BACKEND set it is the front, which asks another one; otherwise it is the back. It prints the port it listens on.
'use strict';
const http = require('node:http');
const express = require('express');

const app = express();
app.get('/cart/:id', async (req, res, next) => {
  try {
    const answer = await fetch(`${process.env.BACKEND}/price/${req.params.id}`);
    res.json({ cart: req.params.id, price: await answer.json() });
  } catch (err) {
    next(err);
  }
});
app.get('/price/:id', (req, res) => res.json(42));
app.get('/fail', () => {
  throw new Error('out of stock');
});

const server = http.createServer(app).listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
