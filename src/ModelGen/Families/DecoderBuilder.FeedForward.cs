using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Families;

/// <content>Feed-forward networks, and mixtures of them.</content>
internal sealed partial class DecoderBuilder
{
    private Value Transform(int layer, Value x) => options.Experts > 0 ? Experts(x, options.FeedForwardOf(layer)) : FeedForward("mlp", x, options.FeedForwardOf(layer), options.SparsityOf(layer));

    /// <summary>A gated feed-forward network (Shazeer 2020), down(activation(gate(x)) ⊙ up(x)), or a plain one, down(activation(up(x))).</summary>
    private Value FeedForward(string name, Value x, int hiddenWidth, double sparsity = 0)
    {
        using (_b.Scope(name))
        {
            return Hidden(projection => _b.Linear(projection, x, hiddenWidth, options.FeedForwardBias, _normal), hidden => _b.Linear("down_proj", hidden, options.Width, options.FeedForwardBias, _residual), sparsity);
        }
    }

    /// <summary>The hidden units, of a gate and of what it lets through where there is one: they may be clamped, the gate from above alone, and a number added to the latter (gpt-oss); and most of a gate may be left out.</summary>
    private Value Hidden(Func<string, Value> project, Func<Value, Value> down, double sparsity = 0)
    {
        if (!options.GatedFeedForward)
        {
            return down(_b.Activate("act", project("up_proj"), options.Activation));
        }

        double limit = options.GateLimit;
        Value Limited(string name, double low) => limit > 0 ? _b.Add(new Clamp(low, limit), name + ".clamped", project(name)) : project(name);
        Value gate = Limited("gate_proj", double.NegativeInfinity);
        Value act = _b.Activate("act", sparsity > 0 ? Sparse("gate_proj", gate, sparsity) : gate, options.Activation), up = Limited("up_proj", -limit);
        return down(_b.Add(new Multiply(), "hidden", act, options.UpOffset.Equals(0) ? up : _b.Add(new Affine(1, options.UpOffset), "up", up)));
    }

    /// <summary>
    /// A mixture of experts (Shazeer et al. 2017): of feed-forward networks, those that a token's scores choose, weighted by the softmax of the scores. What is sent to the experts lies sorted by them, so that each multiplies its tokens together.
    /// </summary>
    private Value Experts(Value x, int hiddenWidth)
    {
        (int experts, int chosen, int width) = (options.Experts, options.ActiveExperts, options.Width);
        using (_b.Scope("mlp"))
        {
            Value scores = _b.Add(new Softmax(), "gate.probabilities", _b.Linear("gate", x, experts, options.RouterBias, _normal));
            Value[] sent = _b.AddMany(new Route(chosen), "route", [scores]);
            Value weights = _b.Add(new Multiply(), "gate.chosen", scores, sent[Route.Mask]);
            if (options.NormalizeExperts)
            {
                weights = _b.Add(new Divide(), "gate.weights", weights, _b.Add(new RowSum(), "gate.total", weights));
            }

            Balance(scores, sent[Route.Mask]);
            Value output;
            using (_b.Scope("experts"))
            {
                Value rows = _b.Add(new Embedding(), "inputs", x, sent[Route.Rows]);
                Value Product(string name, Value of, int outputs, Initializer initializer)
                {
                    Value matrices = _b.Parameter(name + ".weight", Shape.Of(experts, outputs, of.Shape[-1]), initializer);
                    Value product = _b.Add(new ExpertMatMul(), options.FeedForwardBias ? name + ".product" : name, of, matrices, sent[Route.Experts]);
                    return options.FeedForwardBias
                        ? _b.Add(new Add(), name, product, _b.Add(new Embedding(), name + ".biases", _b.Parameter(name + ".bias", Shape.Of(experts, outputs), Initializer.Zeros), sent[Route.Experts]))
                        : product;
                }

                Value answers = Hidden(projection => Product(projection, rows, hiddenWidth, _normal), hidden => Product("down_proj", hidden, width, _residual));

                // Back in the order of tokens, each token's beside each other, and added up.
                Value own = _b.Add(new Embedding(), "answers", answers, sent[Route.Copies]);
                Value share = _b.Add(new Embedding(), "shares", _b.Add(new Unsqueeze(0), "weights", weights), sent[Route.Choices]);
                Value weighted = _b.Add(new Reshape(x.Shape.WithLast(chosen * width)), "all", _b.Add(new Multiply(), "weighted", own, share));
                Value Answer(int number) => _b.Add(new SliceColumns(number * width, width), "answer", weighted);
                output = Enumerable.Range(1, chosen - 1).Aggregate(Answer(0), (sum, number) => _b.Add(new Add(), "sum", sum, Answer(number)));
            }

            if (options.SharedFeedForward == 0)
            {
                return output;
            }

            Value shared = FeedForward("shared_expert", x, options.SharedFeedForward);
            if (options.SharedExpertGate)
            {
                shared = _b.Add(new Multiply(), "shared_expert.gated", shared, _b.Add(new Sigmoid(), "shared_expert_gate.part", _b.Linear("shared_expert_gate", x, 1, bias: false, _normal)));
            }

            return _b.Add(new Add(), "output", output, shared);
        }
    }

    /// <summary>Adds what a layer loses by sending many tokens to few experts.</summary>
    private void Balance(Value scores, Value mask)
    {
        if (isTraining && options.BalanceLoss > 0)
        {
            Value loss = _b.Add(new Affine(options.BalanceLoss, 0), "balance.scaled", _b.Add(new BalanceLoss(), "balance", scores, mask));
            _balance = _balance is { } before ? _b.Add(new Add(), "balance.sum", before, loss) : loss;
        }
    }
}
