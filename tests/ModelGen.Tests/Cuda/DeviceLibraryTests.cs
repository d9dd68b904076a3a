using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;
using OfGpt = ModelGen.Generated.ModelGen_Tests_Cuda_LibraryGpt_Code.CudaTraining;
using OfLstm = ModelGen.Generated.ModelGen_Tests_Cuda_LibraryLstm_Code.CudaTraining;
using OfMlp = ModelGen.Generated.ModelGen_Tests_Cuda_LibraryMlp_Code.CudaTraining;
using OfRoundedGpt = ModelGen.Generated.ModelGen_Tests_Cuda_RoundedLibraryGpt_Code.CudaTraining;

namespace ModelGen.Tests.Cuda;

/// <summary>Products by cuBLASLt, of which a stand-in from C takes the place: whole steps against the processor's, what it refuses, and what becomes of that.</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class DeviceLibraryTests : IDisposable
{
    private readonly StandInBlas? _blas = StandInBlas.Build();

    private static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f };

    public void Dispose() => _blas?.Dispose();

    [Fact]
    public void A_gpt_learns_in_single_precision()
        => Learns<LibraryGpt.Trainer>(o => LibraryGpt.Create(seed: 3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), LibraryGpt.Parameters, 5e-5f, 1e-3);

    [Fact]
    public void A_gpt_learns_in_bf16()
        => Learns<RoundedLibraryGpt.Trainer>(o => RoundedLibraryGpt.Create(seed: 3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)), RoundedLibraryGpt.Parameters, 1e-2f, 2e-2);

    [Fact]
    public void An_lstm_learns_in_tf32()
        => Learns<LibraryLstm.Trainer>(o => LibraryLstm.Create(seed: 3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)), LibraryLstm.Parameters, 2e-3f, 1e-2);

    [Fact]
    public void A_net_learns()
        => Learns<LibraryMlp.Trainer>(o => LibraryMlp.Create(seed: 3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Numbers(42), Ids(6, 3, i)), LibraryMlp.Parameters, 5e-5f, 1e-3);

    /// <summary>Micro-batches: what is added to the gradients is decided by the run's record, as a captured product is the same for all of them.</summary>
    [Fact]
    public void Gradients_are_added_up()
    {
        if (_blas is null)
        {
            return;
        }

        using var driver = new StandInDriver { ProductLibrary = _ => _blas.Load() };
        using LibraryMlp.Trainer here = LibraryMlp.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, AccumulationSteps = 3 });
        using LibraryMlp.Trainer there = LibraryMlp.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, AccumulationSteps = 3, Device = DeviceOf(driver) });
        for (int i = 0; i < 3; i++)
        {
            Near(driver, [here.Step(Numbers(3 * 42), Ids(18, 3, i))], [there.Step(Numbers(3 * 42), Ids(18, 3, i))], 5e-5f);
            Near(driver, [here.GradientNorm], [there.GradientNorm], 5e-4f);
        }

        Assert.Null(_blas.Fault);
        Assert.True(_blas.Calls > 0);
    }

    /// <summary>What one call does: accumulation and plain sums. What it leaves to a kernel: an activation whose derivative is stored.</summary>
    [Fact]
    public void A_call_does_as_much_as_it_knows()
    {
        CudaProduct[] products = OfMlp.Layout.Products;
        Assert.Contains(products, p => p is { Form: CudaProductForm.TN, Sum: CudaProductSum.AddsWhenAccumulating });
        Assert.Contains(products, p => p is { Form: CudaProductForm.NT, Rows: 6, Columns: 21, Depth: 7 } && p.Alignments[4] == 0);
        Assert.Contains(products, p => p is { Form: CudaProductForm.NT, Rows: 6, Columns: 3, Depth: 12 } && p.Alignments[4] >= 4);

        // A step of evaluation stores no derivatives.
        Assert.Contains(products, p => p is { Form: CudaProductForm.NT, Rows: 6, Columns: 21, Activation: CudaProductActivation.Relu } && p.Alignments[4] >= 4);

        // A residual connection is the source of its product; rows of bfloat16 that are not multiples of 16 bytes are rounded to such.
        Assert.Contains(OfGpt.Layout.Products, p => p is { Sum: CudaProductSum.Adds });
        Assert.All(OfRoundedGpt.Layout.Products, p => Assert.Equal(CudaPrecision.BF16, p.Precision));
        Assert.All(OfLstm.Layout.Products, p => Assert.Equal(CudaPrecision.TF32, p.Precision));
    }

    /// <summary>A library that is not there, is too old, lacks a function or will not begin is a reason, and every bit is that of the declaration without it.</summary>
    [Theory]
    [InlineData("missing", "cuBLASLt is not installed: libmodelgen-no-such-cublasLt.so.12 is not found.")]
    [InlineData("old", "cuBLASLt is of version 11.11.3, and 12.0.0 or later is needed")]
    [InlineData("lacking", "it has no cublasLtMatmulPreferenceSetAttribute")]
    [InlineData("create", "Beginning with cuBLASLt 12.4.5 failed: cublasLtCreate returned CUBLAS_STATUS_NOT_INITIALIZED (1).")]
    [InlineData("none", "cublasLtMatmulAlgoGetHeuristic knows of no algorithm.")]
    [InlineData("hungry", "bytes to work in, and may have 33,554,432")]
    public void Without_the_library_other_kernels_compute(string what, string reason)
    {
        if (_blas is null)
        {
            return;
        }

        switch (what)
        {
            case "old":
                _blas.Version = 111_103;
                break;
            case "lacking":
                _blas.Lacks = "cublasLtMatmulPreferenceSetAttribute";
                break;
            case "create":
                _blas.Fail("cublasLtCreate", 1, 1);
                break;
            case "none":
                _blas.Wants = nuint.MaxValue;
                break;
            case "hungry":
                _blas.Wants = 1 << 26;
                break;
        }

        using StandInDriver driver = what == "missing" ? new StandInDriver() : new StandInDriver { ProductLibrary = _ => _blas.Load() }, other = new();
        using (LibraryGpt.Trainer trainer = LibraryGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) }))
        using (SeparateGpt.Trainer twin = SeparateGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(other) }))
        {
            Assert.Null(trainer.Device.ProductLibrary);
            Assert.All(trainer.Device.Limitations, limitation => Assert.Contains(reason, limitation, StringComparison.Ordinal));
            Assert.Equal(what is "none" or "hungry" ? OfGpt.Layout.Products.Length : 1, trainer.Device.Limitations.Count);
            for (int i = 0; i < 3; i++)
            {
                Assert.Equal(twin.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), trainer.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
            }
        }

        Assert.Equal((0, 0), (_blas.Calls, _blas.Live));
        Assert.Null(_blas.Fault);
        Empty(driver);
    }

    /// <summary>A product that the library will not have is another kernel's; the rest are its own, rounded factors included.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void A_product_that_the_library_refuses(int call)
    {
        if (_blas is null)
        {
            return;
        }

        _blas.Fail("cublasLtMatmulAlgoGetHeuristic", call, 15);
        using var driver = new StandInDriver { ProductLibrary = _ => _blas.Load() };
        using (RoundedLibraryGpt.Trainer here = RoundedLibraryGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5 }), there = RoundedLibraryGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) }))
        {
            string limitation = Assert.Single(there.Device.Limitations);
            Assert.Matches(@"^MatMul\w\w_\d+x\d+x\d+ of RoundedLibraryGpt is not cuBLASLt's. Asking cuBLASLt for MatMul.* failed: cublasLtMatmulAlgoGetHeuristic returned CUBLAS_STATUS_NOT_SUPPORTED \(15\)\.$", limitation);
            Assert.Equal("cuBLASLt 12.4.5", there.Device.ProductLibrary);
            for (int i = 0; i < 3; i++)
            {
                Near(driver, [here.Step(Ids(36, 17, i), Ids(36, 17, i + 5))], [there.Step(Ids(36, 17, i), Ids(36, 17, i + 5))], 1e-2f);
            }
        }

        Assert.True(_blas.Calls > 0);
        Assert.Equal(0, _blas.Live);
        Assert.Null(_blas.Fault);
        Empty(driver);
    }

    /// <summary>Each function fails at each of its calls: before a step that is a reason, in a step an exception with the library's name of the error, and nothing is left behind.</summary>
    [Theory]
    [InlineData("cublasLtMatmulDescCreate", 3)]
    [InlineData("cublasLtMatmulDescSetAttribute", 3)]
    [InlineData("cublasLtMatrixLayoutCreate", 3)]
    [InlineData("cublasLtMatmulPreferenceCreate", 3)]
    [InlineData("cublasLtMatmulPreferenceSetAttribute", 14)]
    [InlineData("cublasLtMatmulAlgoGetHeuristic", 7)]
    [InlineData("cublasLtMatmul", 13)]
    public void A_function_that_fails(string function, int status)
    {
        if (_blas is null)
        {
            return;
        }

        int last = 0;
        for (int call = 1; ; call += 1 + (call / 8))
        {
            using var driver = new StandInDriver { ProductLibrary = _ => _blas.Load() };
            _blas.Fail(function, call, status);
            int limitations = 0;
            Exception? exception = Record.Exception(() =>
            {
                using LibraryMlp.Trainer trainer = LibraryMlp.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) });
                limitations = trainer.Device.Limitations.Count;
                trainer.Step(Numbers(42), Ids(6, 3));
                trainer.Step(Numbers(42), Ids(6, 3));
            });
            _blas.Fail(function, 0, 0);
            Empty(driver);
            Assert.Equal(0, _blas.Live);
            Assert.Null(_blas.Fault);
            if (exception is null && limitations == 0)
            {
                Assert.True(last > 0, $"{function} was not called");
                return;
            }

            last = call;
            if (exception is not null)
            {
                CudaException error = Assert.IsType<CudaException>(exception);
                Assert.Equal(status, error.ErrorCode);
                Assert.StartsWith("CUBLAS_STATUS_", error.ErrorName, StringComparison.Ordinal);
                Assert.Contains($"{function} returned {error.ErrorName} ({status})", error.Message, StringComparison.Ordinal);

                // The two that a step asks for.
                Assert.True(function is "cublasLtMatmul" or "cublasLtMatmulDescSetAttribute" && limitations == 0, error.Message);
            }
            else
            {
                Assert.Equal(1, limitations);
            }
        }
    }

    /// <summary>The stand-in's own eyes: what no program may do with the library is found, by a call that is right but for one thing.</summary>
    [Theory]
    [InlineData("", null)]
    [InlineData("stride", "columns overlap")]
    [InlineData("size", "of another size")]
    [InlineData("schemes", "add parts as they come")]
    [InlineData("fit", "do not fit each other")]
    [InlineData("workspace", "workspace that is smaller")]
    [InlineData("nowhere", "workspace that is smaller")]
    [InlineData("alignment", "not aligned as was said")]
    [InlineData("algorithm", "an algorithm for another product")]
    [InlineData("memory", "does not lie in the device's memory")]
    [InlineData("over", "a result over what it is made of")]
    public void The_stand_in_sees(string fault, string? said)
    {
        if (_blas is null)
        {
            return;
        }

        // 2 x 3 times 3 x 4, in column order.
        using var driver = new StandInDriver { IsQuick = true };
        CudaContext context = driver.Load().Context(0);
        context.Use();
        CublasLtLibrary library = _blas.Load();
        nint handle = library.Create(), stream = context.Driver.CreateStream(), description = library.CreateDescription(68, "a test"), preference = library.CreatePreference("a test");
        using var memory = new CudaMemory(context, 8192, "a test");
        float[] a = [1, 4, 2, 5, 3, 6], b = [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1], result = new float[8];
        ulong place = memory.Address;
        List<nint> layouts = [];
        Exception? exception = Record.Exception(() =>
        {
            if (fault == "size")
            {
                library.Set(description, 3, 1L, "a test");
            }

            layouts.Add(library.CreateLayout(0, 2, 3, fault == "stride" ? 1 : 2, "a test"));
            layouts.Add(library.CreateLayout(0, fault == "fit" ? 4 : 3, 4, fault == "fit" ? 4 : 3, "a test"));
            layouts.Add(library.CreateLayout(0, 2, 4, 2, "a test"));
            library.Prefer(preference, 1, 1UL << 20, "a test");
            library.Prefer(preference, 3, fault == "schemes" ? 7u : 2u, "a test");
            CublasLtLibrary.Recommended best = library.Recommend(handle, description, layouts[0], layouts[1], layouts[2], layouts[2], preference, "a test");
            fixed (float* x = a, y = b, z = result)
            {
                context.Driver.CopyToDevice(place, x, 24, stream, "a test");
                context.Driver.CopyToDevice(place + 256, y, 48, stream, "a test");
                float* numbers = stackalloc float[] { 1, 0 };
                if (fault == "algorithm")
                {
                    library.Set(description, 7, 2u, "a test");
                }

                ulong to = fault == "over" ? place : fault == "memory" ? (ulong)z & ~255UL : place + (fault == "alignment" ? 516u : 512u);
                ulong workspace = fault == "nowhere" ? 0 : place + 4096;
                library.Check(library.Multiply(handle, description, numbers, place, layouts[0], place + 256, layouts[1], numbers + 1, to, layouts[2], to, layouts[2], &best.Algorithm, workspace, fault == "workspace" ? 4095 : 4096, stream), "cublasLtMatmul", "multiplying");
                context.Driver.CopyToHost(z, place + 512, 32, stream, "a test");
                context.Driver.Synchronize(stream, "a test");
            }
        });
        layouts.ForEach(library.DestroyLayout);
        library.DestroyDescription(description);
        library.DestroyPreference(preference);
        context.Driver.DestroyStream(context.Handle, stream);
        if (said is null)
        {
            Assert.Null(exception);
            Assert.Null(_blas.Fault);
            Assert.Equal(new float[] { 1, 4, 2, 5, 3, 6, 6, 15 }, result);
            return;
        }

        Assert.Equal("CUBLAS_STATUS_INVALID_VALUE", Assert.IsType<CudaException>(exception).ErrorName);
        Assert.Contains(said, _blas.Fault, StringComparison.Ordinal);
    }

    /// <summary>Losses, norms and gradients are the processor's, as near as the products of other kernels, and the same bits in two runs, whose graphs hold the calls.</summary>
    private void Learns<TTrainer>(Func<TrainerOptions, TTrainer> create, Func<TTrainer, int, float> step, IReadOnlyList<ParameterInfo> parameters, float tolerance, double ofGradients)
        where TTrainer : Trainer
    {
        if (_blas is null)
        {
            return;
        }

        using var driver = new StandInDriver { ProductLibrary = _ => _blas.Load() };
        var options = new TrainerOptions { Seed = 5, Device = DeviceOf(driver) };
        using (TTrainer here = create(new TrainerOptions { Seed = 5 }), there = create(options), again = create(options))
        {
            Assert.Equal("cuBLASLt 12.4.5", there.Device.ProductLibrary);
            Assert.Empty(there.Device.Limitations);
            for (int i = 0; i < 4; i++)
            {
                int before = _blas.Calls;
                float loss = step(there, i);
                if (i > 1)
                {
                    // A graph has the calls by then.
                    Assert.Equal(before, _blas.Calls);
                }

                Assert.Equal(loss, step(again, i));
                Near(driver, [step(here, i)], [loss], tolerance);
                Near(driver, [here.GradientNorm], [there.GradientNorm], 10 * tolerance);
                foreach (ParameterInfo parameter in parameters.Where(p => i == 0 && !p.IsTable))
                {
                    float[] expected = here.Gradient(parameter.Name).ToArray(), actual = there.Gradient(parameter.Name).ToArray();
                    double norm = Math.Sqrt(expected.Sum(x => (double)x * x)), distance = Math.Sqrt(expected.Zip(actual, (x, y) => (double)(x - y) * (x - y)).Sum());
                    Assert.True(distance <= ofGradients * Math.Max(norm, 1e-2), FormattableString.Invariant($"the gradient of {parameter.Name} is {distance} away, of {norm}"));
                }
            }

            Assert.True(_blas.Calls > 0);
            Assert.Equal(1, _blas.Handles);
        }

        Assert.Equal(0, _blas.Live);
        Assert.Null(_blas.Fault);
        Empty(driver);
    }
}
