using ModelGen.Runtime;

namespace ModelGen;

public abstract unsafe partial class Trainer
{
    /// <summary>
    /// The end of a step: the gradients' global norm, clipping, and the optimizer. The parameters are cut into chunks that do not
    /// depend on the number of threads, and the chunks' partial sums are added in order, so that neither do the results.
    /// </summary>
    private sealed class UpdateTask : ITeamTask
    {
        // A chunk of gradients stays in the first-level cache between being summed and being used.
        private const int ChunkLength = 4096;

        private readonly Trainer _trainer;
        private readonly Chunk[] _chunks;
        private readonly double[] _partialSums;
        private float _stepRate;

        public UpdateTask(Trainer trainer)
        {
            _trainer = trainer;
            var chunks = new List<Chunk>();
            foreach (ParameterInfo parameter in trainer._weights.Table.AsSpan())
            {
                for (long start = 0; start < parameter.Length; start += ChunkLength)
                {
                    chunks.Add(new Chunk(parameter.Offset + start, (int)Math.Min(ChunkLength, parameter.Length - start), parameter.WeightDecay));
                }
            }

            _chunks = [.. chunks];
            _partialSums = new double[_chunks.Length];
        }

        /// <summary>The learning rate of the last update; null before the first.</summary>
        public float? LearningRate { get; set; }

        public double GradientNorm { get; private set; }

        public void Run(WorkerTeam team)
        {
            _stepRate = _trainer.ScheduledRate();
            team.Run(this);
            LearningRate = _stepRate;
            GradientNorm = Norm();
        }

        public void Execute(Worker worker)
        {
            worker.Range(_chunks.Length, 1, out int start, out int end);
            float limit = _trainer.Optimizer.GradientClip;
            float* gradients = _trainer._gradients.Floats;
            if (limit == 0)
            {
                for (int index = start; index < end; index++)
                {
                    _partialSums[index] = GradientMath.SumOfSquares(new ReadOnlySpan<float>(gradients + _chunks[index].Offset, _chunks[index].Length));
                    Update(index, 1);
                }

                return;
            }

            for (int index = start; index < end; index++)
            {
                _partialSums[index] = GradientMath.SumOfSquares(new ReadOnlySpan<float>(gradients + _chunks[index].Offset, _chunks[index].Length));
            }

            worker.Barrier();

            // Everyone adds up everything, which is quicker than to wait for one to do it; not a number stays one.
            double factor = limit / (Norm() + 1e-6);
            float scale = factor >= 1 ? 1 : (float)factor;
            for (int index = start; index < end; index++)
            {
                Update(index, scale);
            }
        }

        private double Norm()
        {
            double sum = 0;
            foreach (double partial in _partialSums)
            {
                sum += partial;
            }

            return Math.Sqrt(sum);
        }

        private void Update(int index, float scale)
        {
            ref readonly Chunk chunk = ref _chunks[index];
            long length = _trainer._weights.Length;
            var range = new OptimizerRange(
                _trainer._weights.Pointer + chunk.Offset,
                _trainer._gradients.Floats + chunk.Offset,
                _trainer._slots.Floats + chunk.Offset,
                length,
                chunk.Length)
            {
                SlotCount = _trainer._slotCount,
                GradientScale = scale,
                Step = _trainer.StepCount + 1,
                LearningRate = _stepRate,
                WeightDecay = chunk.WeightDecay,
            };
            _trainer.Optimizer.Update(in range);
        }

        private readonly record struct Chunk(long Offset, int Length, bool WeightDecay);
    }
}
